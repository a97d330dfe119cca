import { createHash } from "node:crypto"
import { spawn } from "node:child_process"
import { text } from "node:stream/consumers"
import { describe, expect, test } from "vitest"
import { FILE } from "../../fixtures/clients-app/routes.ts"
import { headersTo, parseSeen, type Ground, type Reached } from "./ground.ts"

interface Fetched {
  /** Every head that came, with those of 1xx. */
  readonly heads: string
  readonly body: string
}

export const describeCurl = (ground: () => Ground): void => {
  const curl = async (
    version: string,
    path: string,
    args: readonly string[] = [],
    { input, as }: { input?: Buffer; as?: Reached } = {},
  ): Promise<Fetched> => {
    const { vm, caFile } = ground()
    const headers = Object.entries(headersTo(as ?? vm)).flatMap(([name, value]) => ["-H", `${name}: ${value}`])
    const child = spawn(
      "curl",
      ["-sv", "--cacert", caFile, `--http${version}`, ...headers, ...args].concat(`https://${vm.name}${path}`),
      { stdio: ["pipe", "pipe", "pipe"] },
    )
    // It may have been answered before it has sent all.
    child.stdin.on("error", () => {}).end(input)
    const [body, said] = await Promise.all([text(child.stdout), text(child.stderr)])
    const heads = [...said.matchAll(/^< (.*?)\r?$/gm)].map(([, line]) => line).join("\n")
    return { heads, body }
  }

  describe.for(["1.1", "2"])("curl over HTTP/%s", (version) => {
    const status = (code: number) => new RegExp(`^HTTP/${version.replace(".", "\\.")} ${code} `, "m")

    test("is answered in its own version, with the headers of the application", async () => {
      const { heads, body } = await curl(version, "/seen?a=%2F%20b&c", ["-H", "X-Mine: yes", "-A", "someone"])
      expect(heads).toMatch(status(200))
      expect(heads).toMatch(/^x-amzn-requestid: /im)
      expect(parseSeen(body)).toMatchObject({
        method: "GET",
        url: "/seen?a=%2F%20b&c",
        headers: { "x-mine": "yes", "user-agent": "someone", host: ground().vm.name, "x-forwarded-proto": "https" },
      })
    })

    test("sends a body whose length it doesn't know, and one whose length it does", async () => {
      const sent = Buffer.alloc(3 * 1024 * 1024, "torpor")
      const digest = createHash("sha256").update(sent).digest("hex")
      const unknown = parseSeen((await curl(version, "/seen", ["-T", "-"], { input: sent })).body)
      expect(unknown).toMatchObject({ method: "PUT", bytes: sent.length, digest })
      expect(unknown.headers["content-length"]).toBeUndefined()
      const known = parseSeen((await curl(version, "/seen", ["--data-binary", "@-"], { input: sent })).body)
      expect(known).toMatchObject({ method: "POST", bytes: sent.length, digest })
      expect(known.headers["content-length"]).toBe(String(sent.length))
    })

    test("is asked for its body when it waits for that", async () => {
      // However long it takes, it waits.
      const args = ["-H", "Expect: 100-continue", "--expect100-timeout", "60", "-d", "a body"]
      const { heads, body } = await curl(version, "/seen", args)
      expect(heads).toMatch(status(100))
      expect(parseSeen(body)).toMatchObject({ bytes: 6 })
    })

    test("gets a range, and is told when there is none", async () => {
      const some = await curl(version, "/file", ["-r", "5-9"])
      expect(some.heads).toMatch(status(206))
      expect(some.heads).toMatch(/^content-range: bytes 5-9\/1000/im)
      expect(some.body).toBe("56789")
      const none = await curl(version, "/file", ["-r", "1000-1001"])
      expect(none.heads).toMatch(status(416))
      expect(none.heads).toMatch(/^content-range: bytes \*\/1000/im)
    })

    test("learns by HEAD how long a body is, and by OPTIONS what it may", async () => {
      const head = await curl(version, "/file", ["--head"])
      expect(head.heads).toMatch(status(200))
      expect(head.heads).toMatch(new RegExp(`^content-length: ${FILE.length}`, "im"))
      const options = await curl(version, "/file", ["-X", "OPTIONS"])
      expect(options.heads).toMatch(status(204))
      expect(options.heads).toMatch(/^allow: GET, HEAD, POST, OPTIONS/im)
    })

    test("hears of what goes on before the answer", async () => {
      const { heads, body } = await curl(version, "/hints")
      expect(heads).toMatch(status(102))
      expect(heads).toMatch(status(103))
      expect(heads).toMatch(/^link: <\/style\.css>; rel=preload; as=style/im)
      expect(heads.indexOf(" 103 ")).toBeLessThan(heads.indexOf(" 200 "))
      expect(body).toBe("hinted")
    })

    test("gets the trailers behind the body", async () => {
      const { body } = await curl(version, "/trailers", ["--include", "-H", "TE: trailers"])
      expect(body).toMatch(/\r\n\r\na body, and more[^]*^x-left: \d+\r$/m)
      expect(body).toMatch(/\r\n\r\na body, and more[^]*x-digest: of it\r\n/)
    })

    test("with the token of a neighbour is refused", async () => {
      const { heads, body } = await curl(version, "/", [], { as: ground().neighbour })
      expect(heads).toMatch(status(403))
      expect(body).toBe("Token authentication failed")
    })
  })
}
