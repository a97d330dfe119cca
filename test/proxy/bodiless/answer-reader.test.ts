import type { IncomingHttpHeaders } from "node:http"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { createAnswerReader } from "../../../proxy/guest/bodiless/answer-reader.ts"

interface Read {
  readonly informed: number[]
  readonly status: number | undefined
  readonly statusMessage: string | undefined
  readonly headers: IncomingHttpHeaders | undefined
  readonly body: string
  readonly trailers: IncomingHttpHeaders | undefined
  readonly isPersistent: boolean | undefined
}

/** Reads one answer that comes in these pieces; `isClosed` when the application closes behind them. */
const read = (pieces: readonly string[], method = "GET", isClosed = false): Read => {
  const informed: number[] = []
  let answer: Omit<Read, "informed" | "body"> = {
    status: undefined,
    statusMessage: undefined,
    headers: undefined,
    trailers: undefined,
    isPersistent: undefined,
  }
  let body = ""
  const reader = createAnswerReader({
    onInformation: (status) => void informed.push(status),
    onHead({ status, statusMessage, headers }, whole) {
      answer = { ...answer, status, statusMessage, headers }
      body += whole?.toString("latin1") ?? ""
    },
    onData: (bytes) => void (body += bytes.toString("latin1")),
    onEnd: (trailers, isPersistent) => (answer = { ...answer, trailers, isPersistent }),
    onUpgrade: () => {},
  })
  reader.expect(method)
  for (const piece of pieces) reader.take(Buffer.from(piece, "latin1"))
  if (isClosed) reader.close()
  return { ...answer, informed, body }
}

const HEAD = "HTTP/1.1 200 OK\r\n"
const message = (...lines: string[]) => [...lines, "", ""].join("\r\n")

describe("An answer", () => {
  test.each([
    ["a length", message(`${HEAD}content-length: 5`) + "hello", { body: "hello", isPersistent: true }],
    ["no body", message(`${HEAD}Content-Length: 0`), { body: "", isPersistent: true }],
    [
      "chunks, with extensions, and trailers",
      message(`${HEAD}Transfer-Encoding: Chunked`) + "3;a=b\r\nhel\r\n02 \r\nlo\r\n0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\n",
      { body: "hello", trailers: { "x-sum": "1, 2" }, isPersistent: true },
    ],
    ["answers before it", message("HTTP/1.1 103 Hints") + message("HTTP/1.1 204"), { informed: [103], status: 204 }],
    ["a reason of any bytes", message("HTTP/1.1 299 Gr\xfcn  \0ja"), { statusMessage: "Gr\xfcn  \0ja" }],
    [
      "fields that come twice",
      message(
        `${HEAD}Set-Cookie: a`,
        "set-cookie: b",
        "Vary: x",
        "vary:y ",
        "Server: one",
        "server: two",
        "content-length: 0",
      ),
      { headers: { "set-cookie": ["a", "b"], vary: "x, y", server: "one", "content-length": "0" } },
    ],
    [
      "names that objects have already",
      message(`${HEAD}constructor: a`, "__proto__: b", "content-length: 0"),
      { headers: { constructor: "a", "content-length": "0" } },
    ],
    ["a wish to close", message(`${HEAD}connection: Keep-Alive, Close`, "content-length: 0"), { isPersistent: false }],
    ["the old version", message("HTTP/1.0 200 OK", "content-length: 0"), { isPersistent: false }],
    [
      "the old version and a wish",
      message("HTTP/1.0 200", "Connection: keep-alive", "content-length: 0"),
      { isPersistent: true },
    ],
  ])("with %s is read alike however it comes", (_, text, expected) => {
    const whole = read([text])
    expect(whole).toMatchObject(expected)
    const cuts = fc.uniqueArray(fc.integer({ min: 1, max: text.length - 1 }))
    fc.assert(
      fc.property(cuts, (chosen) => {
        const ends = [...chosen.toSorted((a, b) => a - b), text.length]
        expect(read(ends.map((end, index) => text.slice(ends[index - 1] ?? 0, end)))).toEqual(whole)
      }),
    )
    expect(read(text.split(""))).toEqual(whole)
  })

  test("without a length ends with its connection, and is the last on it", () => {
    const text = message(`${HEAD}content-type: text/plain`) + "hel"
    expect(read([text, "lo"], "GET", true)).toMatchObject({ body: "hello", trailers: {}, isPersistent: false })
    expect(read([text, "lo"]).trailers, "before its connection ends").toBeUndefined()
  })

  test.each([
    ["HEAD", 200],
    ["GET", 204],
    ["GET", 304],
  ])("to %s with status %i ends with its head, whatever that says of a body", (method, status) => {
    const text = message(`HTTP/1.1 ${status} Any`, "content-length: 5")
    expect(read([text], method)).toMatchObject({ body: "", headers: { "content-length": "5" }, isPersistent: true })
  })

  test("with more behind it is the last on its connection", () => {
    const text = message(`${HEAD}content-length: 2`)
    expect(read([`${text}okHTTP/1.1 200`])).toMatchObject({ body: "ok", isPersistent: false })
    expect(read([text, "okHTTP/1.1 200"])).toMatchObject({ body: "ok", isPersistent: false })
    expect(() => read([`${text}ok`, "HTTP/1.1 200"])).toThrow("spoke unasked")
  })
})

describe("No answer is", () => {
  test.each([
    ["another protocol's greeting", "SSH-2.0-OpenSSH_9.2\r\n\r\n", "no status line"],
    ["HTTP/2's version", message("HTTP/2 200 OK"), "no status line"],
    ["a status of two digits", message("HTTP/1.1 20 OK"), "no status line"],
    ["a line that ends with LF alone", "HTTP/1.1 200 OK\nserver: x\r\n\r\n", "no status line"],
    ["a field that ends with LF alone", message(`${HEAD}a: b\nc: d`), "bad header line"],
    ["a field that ends with CR alone", message(`${HEAD}a: b\rc: d`), "bad header line"],
    ["a field that goes on in the next line", message(`${HEAD}a: b`, " c: d"), "bad header line"],
    ["a field without a name", message(`${HEAD}: b`), "bad header line"],
    ["a name with a space behind it", message(`${HEAD}content-length : 5`), "bad header line"],
    ["a line without a colon", message(`${HEAD}nonsense`), "bad header line"],
    ["a zero byte", message(`${HEAD}a: \0`), "bad header line"],
    ["two lengths", message(`${HEAD}content-length: 5`, "content-length: 5"), "content-length twice"],
    ["a length and chunks", message(`${HEAD}content-length: 5`, "transfer-encoding: chunked"), "transfer coding"],
    ["another coding", message(`${HEAD}transfer-encoding: gzip, chunked`), "transfer coding"],
    ["chunks of the old version", message("HTTP/1.0 200", "transfer-encoding: chunked"), "transfer coding"],
    ["a negative length", message(`${HEAD}content-length: -1`), "no number"],
    ["a length of several", message(`${HEAD}content-length: 5, 5`), "no number"],
    ["a length beyond counting", message(`${HEAD}content-length: ${"9".repeat(16)}`), "no number"],
    ["a change of protocols", message("HTTP/1.1 101 Switching"), "changed protocols"],
  ])("%s", (_, text, reason) => {
    expect(() => read([text])).toThrow(reason)
    expect(() => read(text.split(""))).toThrow(reason)
  })

  test.each([
    ["a size that is none", "x\r\n", "without a size"],
    ["a negative size", "-1\r\n", "without a size"],
    ["a size beyond counting", `${"f".repeat(13)}\r\n`, "without a size"],
    ["an empty size", "\r\n", "without a size"],
    ["a size line that ends with LF alone", "5\nhello\r\n", "line without its end"],
    ["more than its size", "2\r\nhello\r\n0\r\n\r\n", "another size"],
    ["an extension without end", `5;${"x".repeat(5000)}`, "too long a line"],
    ["trailers without end", `0\r\n${"a: b\r\n".repeat(5000)}`, "too long trailers"],
    ["a trailer that is none", "0\r\nnonsense\r\n\r\n", "bad header line"],
  ])("one in chunks with %s", (_, text, reason) => {
    const head = message(`${HEAD}transfer-encoding: chunked`)
    expect(() => read([head + text])).toThrow(reason)
    expect(() => read([head, ...text.split("")])).toThrow(reason)
  })

  test("a head without end", () => {
    expect(() => read([HEAD, ...Array.from({ length: 2000 }, () => "a: 0123456789\r\n")])).toThrow("too long a head")
    expect(() => read([message(`${HEAD}a: ${"b".repeat(20_000)}`)])).toThrow("too long a head")
  })

  test.each([
    ["in its head", [HEAD]],
    ["before it", []],
    ["in its length", [message(`${HEAD}content-length: 5`), "hel"]],
    ["in its chunks", [message(`${HEAD}transfer-encoding: chunked`), "5\r\nhello\r\n"]],
  ])("one that breaks off %s", (_, pieces) => {
    expect(() => read(pieces, "GET", true)).toThrow("broke off")
  })
})
