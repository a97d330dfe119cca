import { once } from "node:events"
import { request, type IncomingMessage } from "node:http"
import { createInterface } from "node:readline"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { startArchive, type ArchiveUnderTest } from "./cloudwatch-logs/archive-under-test.ts"
import { otherCredentials } from "./api-under-test.ts"
import { sign, signedSend } from "./signed-fetch.ts"

interface Line {
  readonly id: string
  readonly at: string
  readonly stream: string
  readonly text: string
}

let archive: ArchiveUnderTest
let [one, two] = ["", ""]
beforeAll(async () => {
  archive = await startArchive()
  one = await archive.begin("/aws/lambda-microvms/app", "day[1.0]one")
  two = await archive.begin("/aws/lambda-microvms/app", "day[2.0]two")
  await archive.begin("/aws/lambda/app", "function")
  await archive.say(one, "first")
  await archive.say(two, "second")
  await archive.say(one, "third")
})
afterAll(() => archive?.[Symbol.asyncDispose]())

const pathOf = (query: Record<string, string>) => `/torpor/v1/logs?${new URLSearchParams(query).toString()}`
const read = async (query: Record<string, string>, over: object = {}) => {
  const { status, text } = await signedSend(archive.api.port, { path: pathOf(query), service: "torpor", ...over })
  if (status !== 200) return { status, message: (JSON.parse(text) as { message: string }).message }
  return text
    .trimEnd()
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Line)
}
const textsOf = async (query: Record<string, string>) => ((await read(query)) as Line[]).map(({ text }) => text)

/** Reads along, line by line. */
const follow = async (query: Record<string, string>) => {
  const path = pathOf({ ...query, follow: "1" })
  const { headers } = sign({ path, service: "torpor" }, `127.0.0.1:${archive.api.port}`)
  const sent = request({ host: "127.0.0.1", port: archive.api.port, path, headers, agent: false }).end()
  const [response] = (await once(sent, "response")) as [IncomingMessage]
  for (const emitter of [sent, response]) emitter.on("error", () => {})
  const lines = createInterface({ input: response })[Symbol.asyncIterator]()
  return {
    next: async () => (JSON.parse((await lines.next()).value as string) as Line).text,
    [Symbol.dispose]: () => void sent.destroy(),
  }
}

describe("The log of a group over the API", () => {
  test("is all that its streams said, in order, and goes on behind any line", async () => {
    const lines = (await read({ name: "app" })) as Line[]
    expect(lines.map(({ stream, text }) => `${stream} ${text}`)).toEqual([
      "day[1.0]one first",
      "day[2.0]two second",
      "day[1.0]one third",
    ])
    expect(await textsOf({ name: "app", after: lines[0]!.id })).toEqual(["second", "third"])
    expect(await textsOf({ name: "app", since: String(Date.parse(lines[2]!.at)) })).toContain("third")
    expect(await textsOf({ name: "app", since: String(Date.parse(lines[2]!.at) + 1) })).toEqual([])
  })

  test("is found by a group's own name, and one stream of it by its name or how it begins", async () => {
    expect(await textsOf({ name: "/aws/lambda-microvms/app", stream: "day[2.0]two" })).toEqual(["second"])
    expect(await textsOf({ name: "app", stream: "day[1" })).toEqual(["first", "third"])
    expect(await textsOf({ name: "/aws/lambda/app" })).toEqual([])
    expect(await read({ name: "app", stream: "none" })).toEqual({
      status: 404,
      message: "No log stream of /aws/lambda-microvms/app is or begins with 'none'.",
    })
  })

  test("is its account's alone", async () => {
    expect(await read({ name: "app" }, otherCredentials)).toEqual({
      status: 404,
      message: "No logs found: no log group, image or function 'app' has any.",
    })
    expect(await read({ name: "app" }, { secretAccessKey: "wrong" })).toMatchObject({ status: 403 })
    expect(await read({ name: "app", since: "yesterday" })).toMatchObject({ status: 400 })
    expect(await read({ name: "app", after: "x" })).toMatchObject({ status: 400 })
  })

  test("is followed as it is written, in every stream that is wanted, old and new, and in no other", async () => {
    const id = await archive.begin("/followed", "a1")
    const other = await archive.begin("/followed", "b1")
    await archive.say(id, "before")
    using follower = await follow({ name: "/followed", stream: "a" })
    using all = await follow({ name: "/followed" })
    expect([await follower.next(), await all.next()]).toEqual(["before", "before"])
    await archive.say(other, "elsewhere")
    await archive.say(one, "in another group")
    await archive.say(id, "again")
    const later = await archive.begin("/followed", "a2")
    await archive.say(later, "new", "and more")
    expect([await follower.next(), await follower.next(), await follower.next()]).toEqual(["again", "new", "and more"])
    const rest = [await all.next(), await all.next(), await all.next(), await all.next()]
    expect(rest.toSorted()).toEqual(["again", "and more", "elsewhere", "new"])
  })

  test("is followed through a flood of several at once, of which no line is lost or doubled", async () => {
    const ids = [await archive.begin("/flood", "a"), await archive.begin("/flood", "b")]
    using follower = await follow({ name: "/flood" })
    await Promise.all(
      ids.map((id, stream) =>
        archive.say(id, ...Array.from({ length: 5000 }, (_, line) => `${stream} ${line}${"x".repeat(100)}`)),
      ),
    )
    const seen = new Map<string, number>()
    for (let count = 0; count < 10_000; count++) {
      const [stream = "", line = ""] = (await follower.next()).replace(/x+$/, "").split(" ")
      expect(Number(line)).toBe(seen.get(stream) ?? 0)
      seen.set(stream, Number(line) + 1)
    }
  })
})
