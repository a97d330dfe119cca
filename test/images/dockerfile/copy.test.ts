import { describe, expect, test } from "vitest"
import type { CopyStep } from "../../../images/dockerfile/step.ts"
import { copies } from "./planning.ts"

const one = async (...lines: string[]): Promise<CopyStep> => (await copies(...lines)).at(-1)!
const SHA = `sha256:${"0a".repeat(32)}`

describe("COPY", () => {
  test.for<[line: string, sources: string[], destination: string]>([
    ["COPY a /b", ["a"], "/b"],
    ["COPY a b", ["a"], "/w/b"],
    ["COPY a .", ["a"], "/w/"],
    ["COPY a ./", ["a"], "/w/"],
    ["COPY a ..", ["a"], "/"],
    ["COPY a /", ["a"], "/"],
    ["COPY a b /c/", ["a", "b"], "/c/"],
    ["COPY a b .", ["a", "b"], "/w/"],
    ['COPY ["a b", "c d/"]', ["a b"], "/w/c d/"],
    ["COPY $N ${N}s", ["x"], "/w/xs"],
    ["COPY *.t[xy]t /d/", ["*.t[xy]t"], "/d/"],
  ])("%s", async ([line, sources, destination]) => {
    expect(await copies("WORKDIR /w", "ENV N=x", line)).toMatchObject([
      { sources, destination, owner: null, mode: null },
    ])
  })

  test("takes owner and mode, with variables", async () => {
    expect(await copies("ARG U=app M=750", "COPY --chown=$U:staff --chmod=0${M} a b")).toMatchObject([
      { owner: "app:staff", mode: "0750" },
    ])
    expect(await copies("COPY --chmod=4755 a b")).toMatchObject([{ mode: "4755" }])
  })
})

test("A heredoc is a file for COPY, with variables replaced unless its name is quoted", async () => {
  const lines = ["ENV A=1", "COPY --chmod=600 a <<EOF <<'raw' b$A /x/", "$A\\$A", "EOF", "$A\\$A", "raw"]
  expect(await copies(...lines)).toMatchObject([
    {
      sources: ["a", "b1"],
      inline: [
        { name: "EOF", content: "1$A\n" },
        { name: "raw", content: "$A\\$A\n" },
      ],
      destination: "/x/",
      mode: "600",
    },
  ])
  expect(await copies('COPY ["<<EOF", "/x"]')).toMatchObject([{ sources: ["<<EOF"], inline: [] }])
})

describe("COPY's flags", () => {
  test.for<[flags: string, step: Partial<CopyStep>]>([
    ["", { from: { kind: "context" }, owner: null, mode: null, link: false, excluded: [], parents: false }],
    ["--chown=1000:1000", { owner: "1000:1000" }],
    ["--chown='$U'", { owner: "app" }],
    ["--chmod=u=rwX,go=rX", { mode: "u=rwX,go=rX" }],
    ["--chmod=$M", { mode: "0640" }],
    ["--link", { link: true }],
    ["--link=true", { link: true }],
    ["--link=false", { link: false }],
    ["--exclude=*.md --exclude=$U/**", { excluded: ["*.md", "app/**"] }],
    ["--parents", { parents: true, sources: ["a/./b"] }],
    ["--from=torpor/debian:13 --link --chown=1", { from: { kind: "stage", stage: 0 }, link: true, owner: "1" }],
  ])("%s", async ([flags, step]) => {
    expect(await one("ARG U=app M=0640", `COPY ${flags} a/./b /c/`)).toMatchObject({
      remote: [],
      unpacked: "none",
      ...step,
    })
  })
})

describe("ADD", () => {
  test.for<[line: string, step: Partial<CopyStep>]>([
    ["ADD a.tar.gz /b/", { sources: ["a.tar.gz"], destination: "/b/", remote: [], unpacked: "local" }],
    ["ADD --unpack=false a.tar /b/", { sources: ["a.tar"], unpacked: "none" }],
    ["ADD --unpack https://e.org/a.tar /b/", { remote: [remote("https://e.org/a.tar", "a.tar")], unpacked: "all" }],
    ['ADD ["a b", "/c"]', { sources: ["a b"], destination: "/c" }],
    ["ADD --chown=1:2 --chmod=600 --link --exclude=x a b", { owner: "1:2", mode: "600", link: true, excluded: ["x"] }],
    ["ADD https://e.org/a b", { sources: [], remote: [remote("https://e.org/a", "a")], unpacked: "local" }],
    ["ADD HTTP://E.org /b", { remote: [remote("http://e.org/", "__unnamed__")] }],
    ["ADD https://e.org/a%20b/?x=1#y /b/", { remote: [remote("https://e.org/a%20b/?x=1", "a b")] }],
    ["ADD https://e.org/%zz /b/", { remote: [remote("https://e.org/%zz", "__unnamed__")] }],
    ["ADD https://e.org/x.gitignore /b", { remote: [remote("https://e.org/x.gitignore", "x.gitignore")] }],
    [
      "ADD a https://e.org/$V/b https://e.org/c d/",
      {
        sources: ["a"],
        destination: "/d/",
        remote: [remote("https://e.org/1.2/b", "b"), remote("https://e.org/c", "c")],
      },
    ],
    [`ADD --checksum=${SHA} https://e.org/a b`, { remote: [remote("https://e.org/a", "a", SHA)] }],
    ["ADD --checksum=$S https://e.org/a b", { remote: [remote("https://e.org/a", "a", SHA)] }],
    ["ADD --keep-git-dir=false a b", { sources: ["a"] }],
    ["ADD <<a <<'b' /c/\n$V\na\n$V\nb", { inline: [text("a", "1.2\n"), text("b", "$V\n")], destination: "/c/" }],
  ])("%s", async ([line, step]) => {
    expect(await one(`ARG V=1.2 S=${SHA}`, line)).toMatchObject({
      kind: "copy",
      from: { kind: "context" },
      parents: false,
      ...step,
    })
  })

  test.for([
    "git@github.com:a/b",
    "git://e.org/a",
    "ssh://git@e.org/a",
    "https://e.org/a.git",
    "https://e.org/a.git#main:sub",
    "https://e.org/a.git?ref=main",
  ])("of a git repository is refused: %s", async (source) => {
    await expect(one(`ADD ${source} /a`)).rejects.toThrow(
      `Dockerfile line 2: ADD of a git repository is not supported: clone '${source}' in a RUN`,
    )
  })
})

function remote(url: string, name: string, checksum: string | null = null) {
  return { url, name, checksum }
}

function text(name: string, content: string) {
  return { name, content }
}
