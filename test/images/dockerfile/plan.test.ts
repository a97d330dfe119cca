import { describe, expect, test } from "vitest"
import type { RunStep } from "../../../images/dockerfile/step.ts"
import { copies, directories, plan, planOf, runs, targetOf } from "./planning.ts"

const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
/** What a RUN behind these lines has in its environment, but PATH. */
const environment = async (...lines: string[]) => {
  const { PATH: _, ...rest } = (await runs(...lines, "RUN x")).at(-1)!.environment
  return rest
}

describe("FROM", () => {
  test.for([
    "FROM torpor/debian:13",
    "from torpor/debian:13 as app",
    "FROM public.ecr.aws/lambda/microvms:al2023-minimal",
    "ARG B=torpor/debian\nFROM ${B}:13",
    "ARG A=13\nARG B=torpor/debian:$A\nFROM $B",
    "ARG B\nFROM ${B:-torpor/debian:13}",
    "# syntax=docker/dockerfile:1\nFROM torpor/debian:13",
  ])("takes the managed image: %s", async (from) => {
    expect(await targetOf(`${from}\nCMD x`)).toMatchObject({ ground: { kind: "managed" }, steps: [] })
  })

  test("takes the build's arguments", async () => {
    const found = await targetOf("ARG B=other\nFROM $B\nCMD x", { arguments: { B: "torpor/debian:13" } })
    expect(found.ground).toEqual({ kind: "managed" })
  })
})

describe("ARG and ENV", () => {
  test("say what a RUN finds in its environment", async () => {
    expect((await runs("RUN x"))[0]?.environment).toEqual({ PATH })
    expect(await environment("ARG A=1 B", "ENV C=2")).toEqual({ A: "1", C: "2" })
  })

  test("ARG before FROM is known behind it only where it is named again", async () => {
    const text = (behind: string) => `ARG A=1\nFROM torpor/debian:13\n${behind}\nRUN x\nCMD y`
    const found = async (behind: string) => ((await targetOf(text(behind))).steps[0] as RunStep).environment["A"]
    expect([await found("ENV B=$A"), await found("ARG A"), await found("ARG A=2")]).toEqual([undefined, "1", "2"])
  })

  test("ARG is known from its own line on, and is no part of the running image", async () => {
    const { settings, stages } = await plan("RUN a", "ARG A=1", "RUN b")
    expect((stages[0]!.steps as RunStep[]).map(({ environment: known }) => known["A"])).toEqual([undefined, "1"])
    expect(settings.environment).toEqual({ PATH })
  })

  test("ENV wins over ARG, whichever comes first", async () => {
    expect(await environment("ARG A=arg", "ENV A=env")).toEqual({ A: "env" })
    expect(await environment("ENV A=env", "ARG A=arg")).toEqual({ A: "env" })
    expect(await environment("ARG A=arg", "ENV A=${A:-none}")).toEqual({ A: "arg" })
  })

  test.for<[line: string, found: Record<string, string>]>([
    ["ENV A=1 B=two", { A: "1", B: "two" }],
    ["ENV A=\"a b\" B=a\\ b C='a b'", { A: "a b", B: "a b", C: "a b" }],
    ["ENV A a  b  c", { A: "a  b  c" }],
    ["ENV A B=c", { A: "B=c" }],
    ['ENV A "quoted"', { A: "quoted" }],
    ["ENV A=", { A: "" }],
    ["ENV A=b=c", { A: "b=c" }],
    ["ENV A=1 \\\n  B=2 \\\n# three\n  C=3", { A: "1", B: "2", C: "3" }],
    ["ENV A=1\nENV A=2 B=$A", { A: "2", B: "1" }],
    ["ENV constructor=x __proto__=y", JSON.parse('{"constructor":"x","__proto__":"y"}') as Record<string, string>],
  ])("%s", async ([line, found]) => {
    expect(Object.entries(await environment(line))).toEqual(Object.entries(found))
  })

  test("PATH can be added to", async () => {
    expect((await plan("ENV PATH=/opt:$PATH")).settings.environment).toEqual({ PATH: `/opt:${PATH}` })
  })
})

describe("WORKDIR and USER", () => {
  test.for<[lines: string[], paths: string[]]>([
    [["WORKDIR /a/b/"], ["/a/b"]],
    [["WORKDIR a"], ["/a"]],
    [
      ["WORKDIR /a", "WORKDIR b", "WORKDIR ../c/./d"],
      ["/a", "/a/b", "/a/c/d"],
    ],
    [["WORKDIR /../../a"], ["/a"]],
    [["WORKDIR /"], ["/"]],
    [["ENV D=/x", "WORKDIR $D/${E:-y}"], ["/x/y"]],
    [["WORKDIR /a  b"], ["/a  b"]],
    [['WORKDIR "/a b"'], ["/a b"]],
  ])("%s", async ([lines, paths]) => expect(await directories(...lines)).toEqual(paths))

  test("hold from their line on, for steps and for the running image", async () => {
    const { stages, settings } = await plan("RUN a", "USER app:staff", "WORKDIR /w", "RUN b", "USER 1000")
    expect(stages[0]!.steps).toMatchObject([
      { user: "", workingDirectory: "/" },
      { kind: "directory", path: "/w", owner: "app:staff" },
      { user: "app:staff", workingDirectory: "/w" },
    ])
    expect(settings).toMatchObject({ user: "1000", workingDirectory: "/w" })
  })
})

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

describe("The running image", () => {
  const start = async (...lines: string[]) =>
    (await planOf(["FROM torpor/debian:13", ...lines].join("\n"))).settings.argv
  test.for<[lines: string[], argv: string[]]>([
    [["CMD a b"], ["/bin/sh", "-c", "a b"]],
    [['CMD ["a", "b"]'], ["a", "b"]],
    [["CMD a", 'CMD ["b"]'], ["b"]],
    [['ENTRYPOINT ["e"]'], ["e"]],
    [
      ['ENTRYPOINT ["e"]', 'CMD ["c"]'],
      ["e", "c"],
    ],
    [
      ['CMD ["c"]', 'ENTRYPOINT ["e"]'],
      ["e", "c"],
    ],
    [
      ['ENTRYPOINT ["e"]', "CMD c"],
      ["e", "/bin/sh", "-c", "c"],
    ],
    [
      ["ENTRYPOINT e f", 'CMD ["c"]'],
      ["/bin/sh", "-c", "e f", "c"],
    ],
    [["ENTRYPOINT e", "ENTRYPOINT []", 'CMD ["c"]'], ["c"]],
    [["CMD ['c']"], ["/bin/sh", "-c", "['c']"]],
  ])("starts by %s", async ([lines, argv]) => expect(await start(...lines)).toEqual(argv))

  test.for<[line: string, ports: number[]]>([
    ["EXPOSE 80", [80]],
    ["EXPOSE 80/tcp 53/udp 9/sctp", [80]],
    ["EXPOSE 8080 80 8080/TCP", [8080, 80]],
    ["EXPOSE 7000-7002/tcp", [7000, 7001, 7002]],
    ['ENV P="1 2"\nEXPOSE $P', [1, 2]],
  ])("%s", async ([line, ports]) => expect((await plan(line)).settings.exposedPorts).toEqual(ports))

  test("has its labels, the last of a name", async () => {
    expect((await plan('LABEL a=1 b.c="two words"', "LABEL a=2", "LABEL old a b")).settings.labels).toEqual({
      a: "2",
      "b.c": "two words",
      old: "a b",
    })
  })
})

describe("A heredoc", () => {
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

  test("is a file for COPY, with variables replaced unless its name is quoted", async () => {
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

test("MAINTAINER changes nothing", async () => {
  expect((await plan("MAINTAINER Somebody O'Else <a@example.org>")).stages[0]!.steps).toEqual([])
})

describe("What is kept of an image and changes nothing of how it runs", () => {
  test("are its volumes, each once", async () => {
    const { volumes } = (await plan("ENV D=/data", "VOLUME $D /logs", 'VOLUME ["/a b", "/data"]')).settings
    expect(volumes).toEqual(["/data", "/logs", "/a b"])
  })

  test.for(["SIGTERM", "quit", "9", "SIGRTMIN+3", "$S"])("is its stop signal: %s", async (signal) => {
    expect((await plan("ARG S=SIGINT", `STOPSIGNAL ${signal}`)).settings.stopSignal).toBe(
      signal.replace("$S", "SIGINT"),
    )
  })

  test("is its last health check, with Docker's defaults", async () => {
    const check = async (...lines: string[]) => (await plan(...lines)).settings.healthcheck
    expect(await check("HEALTHCHECK CMD curl -f http://localhost/ || exit 1")).toEqual({
      argv: ["/bin/sh", "-c", "curl -f http://localhost/ || exit 1"],
      intervalMs: 30_000,
      timeoutMs: 30_000,
      startPeriodMs: 0,
      startIntervalMs: 5000,
      retries: 3,
    })
    const flags = "--interval=1m30s --timeout=.5s --start-period=1h --start-interval=0s --retries=7"
    expect(await check("HEALTHCHECK CMD a", `healthcheck ${flags} cmd ["b"]`)).toEqual({
      argv: ["b"],
      intervalMs: 90_000,
      timeoutMs: 500,
      startPeriodMs: 3_600_000,
      startIntervalMs: 5000,
      retries: 7,
    })
    expect(await check("HEALTHCHECK CMD a", "HEALTHCHECK NONE")).toBeNull()
    expect((await plan()).settings).toMatchObject({ volumes: [], stopSignal: null, healthcheck: null })
  })
})
