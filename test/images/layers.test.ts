import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import { ensureArtifact } from "../../images/artifact.ts"
import { blankRecipe } from "../../images/base/blank.ts"
import { createContext, type ContextEntry } from "../../images/context.ts"
import { BARE } from "../../images/dockerfile/ground.ts"
import type { CopyStep } from "../../images/dockerfile/step.ts"
import { resolveSources, toChains } from "../../images/layers.ts"
import { planOf, targetOf } from "./dockerfile/planning.ts"

const file = (path: string, digest = "1", mode = 0o644): ContextEntry => ({ path, kind: "file", mode, digest })
const FILES = [file("Dockerfile"), file("main.py"), file("lib/a"), file("lib/b"), file("unrelated")]
const LINES = ["ARG A=1", "ENV B=2", "WORKDIR /app", "COPY main.py .", "RUN one", "COPY lib lib", "RUN two"]

/** Of the target's chain. */
const hashesOf = async (text: string, files: readonly ContextEntry[] = FILES, base = "base", blank = "blank") => {
  const archive = { dockerfile: "", excluded: [], settings: { arguments: {} }, context: createContext(files) }
  const resolveImage = (reference: string) => Promise.resolve({ digest: `sha256:${reference}`, config: BARE })
  const chains = toChains(await planOf(text, { resolveImage }), archive, { managed: base, blank })
  return chains.at(-1)!.links.map(({ hash }) => hash)
}
const hashes = (lines: readonly string[] = LINES, files: readonly ContextEntry[] = FILES, base = "base") =>
  hashesOf(["FROM torpor/debian:13", ...lines, "CMD x"].join("\n"), files, base)
/** How many of the steps of an unchanged build a changed one finds in the cache. */
const shared = async (changed: string[]) => {
  const before = await hashes()
  const at = changed.findIndex((hash, index) => hash !== before[index])
  return at === -1 ? changed.length : at
}
const withFile = (path: string, entry: ContextEntry) => FILES.map((one) => (one.path === path ? entry : one))
const replaced = (from: string, to: string) => LINES.map((line) => (line === from ? to : line))

describe("A step is found in the cache", () => {
  test("when nothing has changed, in whatever order the archive is", async () => {
    expect(await hashes()).toHaveLength(5)
    expect(await hashes(LINES, FILES.toReversed())).toEqual(await hashes())
  })

  test.for<[name: string, changed: () => Promise<string[]>, steps: number]>([
    ["an unrelated file changes", () => hashes(LINES, withFile("unrelated", file("unrelated", "2"))), 5],
    ["an unrelated file comes", () => hashes(LINES, [...FILES, file("more")]), 5],
    [
      "comments, blanks and the case of keywords change",
      () => hashes(["# hi", "", ...replaced("RUN one", "run   one")]),
      5,
    ],
    ["a label or a port comes", () => hashes(["LABEL x=y", ...LINES, "EXPOSE 80"]), 5],
    ["the last RUN changes", () => hashes(replaced("RUN two", "RUN three")), 4],
    ["a file in a copied folder changes", () => hashes(LINES, withFile("lib/b", file("lib/b", "2"))), 3],
    ["a file comes into a copied folder", () => hashes(LINES, [...FILES, file("lib/c")]), 3],
    ["a copied file's mode changes", () => hashes(LINES, withFile("main.py", file("main.py", "1", 0o755))), 1],
    ["a COPY gets an owner", () => hashes(replaced("COPY lib lib", "COPY --chown=1 lib lib")), 3],
    ["a COPY gets a mode", () => hashes(replaced("COPY lib lib", "COPY --chmod=700 lib lib")), 3],
    ["a COPY goes elsewhere", () => hashes(replaced("COPY lib lib", "COPY lib /lib")), 3],
    ["an ARG changes", () => hashes(replaced("ARG A=1", "ARG A=2")), 2],
    ["an ENV changes", () => hashes(replaced("ENV B=2", "ENV B=3")), 2],
    ["an ENV's name changes", () => hashes(replaced("ENV B=2", "ENV C=2")), 2],
    ["the user changes", () => hashes(replaced("RUN two", "USER 1000\nRUN two")), 4],
    ["the directory changes", () => hashes(replaced("WORKDIR /app", "WORKDIR /srv")), 0],
    ["the shell form becomes the exec form", () => hashes(replaced("RUN two", 'RUN ["two"]')), 4],
    ["the base changes", () => hashes(LINES, FILES, "other"), 0],
    ["an earlier step goes", () => hashes(LINES.filter((line) => line !== "RUN one")), 2],
  ])("until %s", async ([, changed, steps]) => {
    expect(await shared(await changed())).toBe(steps)
  })

  test("not once there is a link in the archive and anything in it changes", async () => {
    const link: ContextEntry = { path: "link", kind: "link", mode: 0o777, digest: "1" }
    const before = await hashes(LINES, [...FILES, link])
    const after = await hashes(LINES, [...withFile("unrelated", file("unrelated", "2")), link])
    expect(after[0]).toBe(before[0])
    expect(after[1]).not.toBe(before[1])
  })
})

test("No step that stands on a ground is found in the cache once that ground was made again", async () => {
  const cache = await mkdtemp(join(tmpdir(), "torpor-grounds-"))
  try {
    const stageOn = async (from: string) => {
      const blank = await ensureArtifact(cache, await blankRecipe(), () => {}, AbortSignal.timeout(60_000))
      return { blank, steps: await hashesOf(`FROM ${from}\nCOPY main.py /\nCMD ["/x"]`, FILES, "base", blank.hash) }
    }
    for (const from of ["scratch", "elsewhere"]) {
      const before = await stageOn(from)
      expect((await stageOn(from)).steps).toEqual(before.steps)
      await rm(before.blank.directory, { recursive: true })
      const after = await stageOn(from)
      expect(after.steps.filter((hash) => before.steps.includes(hash))).toEqual([])
    }
  } finally {
    await rm(cache, { recursive: true })
  }
})

describe("A COPY", () => {
  const sources = async (line: string, files: readonly ContextEntry[] = FILES) =>
    resolveSources((await targetOf(`FROM torpor/debian:13\n${line}\nCMD x`)).steps[0] as CopyStep, {
      dockerfile: "",
      excluded: [],
      settings: { arguments: {} },
      context: createContext(files),
    }).map(({ path }) => path)

  test.for<[line: string, paths: string[]]>([
    ["COPY main.py /x", ["main.py"]],
    ["COPY . /x", ["."]],
    ["COPY / /x", ["."]],
    ["COPY ../../main.py /x", ["main.py"]],
    ["COPY lib/../main.py /x", ["main.py"]],
    ["COPY lib/* /x/", ["lib/a", "lib/b"]],
    ["COPY main.py none* /x/", ["main.py"]],
    ["COPY *.py lib /x/", ["main.py", "lib"]],
  ])("%s", async ([line, paths]) => expect(await sources(line)).toEqual(paths))

  test.for(["COPY none /x", "COPY main.py none /x/", "COPY none* /x/", "COPY main.py/x /y", "COPY lib/[ /x/"])(
    "%s fails with its line",
    (line) =>
      expect(sources(line)).rejects.toThrow(/^Dockerfile line 2: .*(not found in the build context|syntax error)/),
  )

  test("of a path that may be behind a link is left to the guest", async () => {
    const link: ContextEntry = { path: "current", kind: "link", mode: 0o777, digest: "1" }
    expect(await sources("COPY current/main.py /x", [...FILES, link])).toEqual(["current/main.py"])
  })

  test("of more paths than a build may name is refused", async () => {
    const many = Array.from({ length: 50_000 }, (_, index) => file(`d/${index}`))
    await expect(sources("COPY d/* d/* d/* d/* d/* /x/", many)).rejects.toThrow("COPY names more than 200000 paths")
  })
})
