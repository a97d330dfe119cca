import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, expect, test } from "vitest"
import { keptFact } from "../../src/vmm/host/kept-fact.ts"

let directory: string
let file: string
let asked: string[]
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "torpor-fact-"))
  file = join(directory, "fact.json")
  asked = []
})
afterEach(() => rm(directory, { recursive: true }))

const ask = (about: string) =>
  keptFact(file, about, () => {
    asked.push(about)
    return Promise.resolve(`of ${about}`)
  })

test("A fact is asked for once, and again when what it is about is another", async () => {
  expect(await ask("one")).toBe("of one")
  expect(await ask("one")).toBe("of one")
  expect(await ask("another")).toBe("of another")
  expect(asked).toEqual(["one", "another"])
})

test.for(["", "{", "null", "\0\0", '{"about":"one"}', '{"about":"one","fact":1}'])(
  "A fact that is kept as %j is asked for again",
  async (text) => {
    await writeFile(file, text)
    expect(await ask("one")).toBe("of one")
    expect(await ask("one")).toBe("of one")
    expect(asked).toEqual(["one"])
  },
)

test("What could not be found out is not kept", async () => {
  await expect(keptFact(file, "one", () => Promise.reject(new Error("no")))).rejects.toThrow("no")
  expect(await ask("one")).toBe("of one")
})
