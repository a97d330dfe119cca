import { describe, expect, test } from "vitest"
import { planOf, runs } from "./planning.ts"

describe("RUN", () => {
  test.for<[line: string, argv: string[]]>([
    ["RUN echo $X  'a b'", ["/bin/sh", "-c", "echo $X  'a b'"]],
    ['RUN ["echo", "$X"]', ["echo", "$X"]],
    ["RUN ['echo']", ["/bin/sh", "-c", "['echo']"]],
    ["RUN [ -e /x ] || true", ["/bin/sh", "-c", "[ -e /x ] || true"]],
    ["RUN a && \\\n    b", ["/bin/sh", "-c", "a &&     b"]],
    ["RUN echo $((1 << 2))", ["/bin/sh", "-c", "echo $((1 << 2))"]],
  ])("%s", async ([line, argv]) => expect((await runs(line))[0]?.argv).toEqual(argv))
})

describe("A heredoc of RUN", () => {
  const argv = async (...lines: string[]) => (await runs(...lines)).map((step) => step.argv)

  test("alone is what RUN's shell executes, and what follows it are instructions again", async () => {
    const lines = ["RUN <<EOF", "set -e", "# no comment of Docker's \\", "echo $x", "RUN y", "EOF", "RUN two"]
    expect(await argv(...lines)).toEqual([
      ["/bin/sh", "-c", "set -e\n# no comment of Docker's \\\necho $x\nRUN y\n"],
      ["/bin/sh", "-c", "two"],
    ])
    expect(await argv("RUN <<-EOF", "\ta", "\t\tb", "\tEOF")).toEqual([["/bin/sh", "-c", "a\nb\n"]])
    expect(await argv("RUN \\", "  <<EOF", "a", "EOF")).toEqual([["/bin/sh", "-c", "a\n"]])
  })

  test("with a command, or another, is the shell's to read", async () => {
    expect(await argv("RUN cat <<-A <<'B' > x; y", "\t1", "\tA", "2", "B")).toEqual([
      ["/bin/sh", "-c", "cat <<-A <<'B' > x; y\n\t1\nA\n2\nB"],
    ])
  })

  test("that names its interpreter is a program of its own", async () => {
    const [step] = await runs("RUN <<-main.py", "\t#!/usr/bin/env python3", "\tprint(1)", "\tmain.py")
    expect(step).toMatchObject({
      argv: ["/dev/pipes/main.py"],
      script: { name: "main.py", content: "#!/usr/bin/env python3\nprint(1)\n" },
    })
    expect((await runs("RUN sh <<EOF", "#!/bin/bash", "EOF"))[0]?.script).toBeNull()
    expect((await runs("RUN <<EOF cat", "#!/bin/bash", "EOF"))[0]).toMatchObject({
      argv: ["/bin/sh", "-c", "<<EOF cat\n#!/bin/bash\nEOF"],
      script: null,
    })
  })
})

test("SHELL is what reads RUN, CMD and ENTRYPOINT from its line on, unless they are in exec form", async () => {
  const lines = ["RUN a", 'SHELL ["bash", "-o", "pipefail", "-c"]', "RUN b", "RUN <<EOF", "c", "EOF", 'RUN ["d"]']
  expect((await runs(...lines)).map(({ argv }) => argv)).toEqual([
    ["/bin/sh", "-c", "a"],
    ["bash", "-o", "pipefail", "-c", "b"],
    ["bash", "-o", "pipefail", "-c", "c\n"],
    ["d"],
  ])
  const text = 'FROM torpor/debian:13\nSHELL ["bash", "-c"]\n'
  expect((await planOf(`${text}CMD x`)).settings.argv).toEqual(["bash", "-c", "x"])
  expect((await planOf(`${text}ENTRYPOINT x`)).settings.argv).toEqual(["bash", "-c", "x"])
})
