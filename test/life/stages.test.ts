import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { startTestDaemon, type TestDaemon } from "../fixtures/daemon.ts"
import { buildOf } from "./build-result.ts"
import { compile } from "./functions/code.ts"
import { readerOf } from "./reader.ts"
import { SERVER_C } from "./static-server.ts"

const opened = new AsyncDisposableStack()
let daemon: TestDaemon
let directory: string
/** Compiled here: in an emulated guest that takes long, and gcc is in the test of the managed image. */
let server: Buffer
beforeAll(async () => {
  server = await compile(SERVER_C)
  directory = await mkdtemp(join(tmpdir(), "torpor-secrets-"))
  opened.defer(() => rm(directory, { recursive: true }))
  await writeFile(join(directory, "token"), "nobody knows")
  daemon = opened.use(await startTestDaemon({}, { secrets: { token: join(directory, "token") } }))
})
afterAll(() => opened.disposeAsync())
const build = (name: string, files: Record<string, string | Buffer>) => buildOf(daemon, name, files)

const DOCKERFILE = `# syntax=docker/dockerfile:1
ARG RELEASE=13
FROM --platform=$BUILDPLATFORM torpor/debian:\${RELEASE} AS maker
WORKDIR /src
COPY server ./
RUN --mount=type=cache,target=/cache,id=objects echo run >> /cache/runs && echo "runs: $(wc -l < /cache/runs)"
RUN install server /out && touch "/made on $TARGETARCH"

FROM maker AS never
RUN exit 1

FROM scratch AS data
COPY --parents a/./b/*.txt /kept/
COPY --exclude=**/*.log --chmod=u=rwX,go= logs /logs
ADD --chown=7:8 <<END /heredoc
from a heredoc
END

FROM torpor/debian:13 AS tools
RUN --mount=type=bind,from=data,target=/data --mount=type=bind,source=a,target=/written,rw \\
    --mount=type=tmpfs,target=/memory --network=none \\
    cat /data/kept/b/one.txt > /found && echo more >> /written/b/one.txt && cat /written/b/one.txt >> /found && \\
    stat -f -c %T /memory >> /found && (ls /sys/class/net >> /found)
RUN --mount=type=secret,id=token,mode=0440,gid=7 --mount=type=secret,id=token,env=TOKEN --mount=type=secret,id=none \\
    stat -c "%a %g" /run/secrets/token && [ "$TOKEN" = "$(cat /run/secrets/token)" ] && [ ! -e /run/secrets/none ]
RUN [ ! -e /run/secrets ] && [ ! -e /data ] && [ ! -e /written ] && [ ! -e /memory ] && echo "gone \${TOKEN:-with it}"
RUN --mount=type=bind,source=a,target=/again cat /again/b/one.txt >> /found

FROM scratch
COPY --from=maker /out /server
COPY --from=maker ["/made on *", "/made/"]
COPY --from=data / /data/
COPY --from=tools --chmod=0644 /found /found
EXPOSE 8080
CMD ["/server"]
`
const FILES = {
  Dockerfile: DOCKERFILE,
  "a/b/one.txt": "one\n",
  "a/b/two.txt": "two\n",
  "a/b/three.md": "three\n",
  "logs/deep/kept": "kept\n",
  "logs/deep/left.log": "left\n",
}

/** The numbers of the steps that ended so. */
const steps = (log: readonly string[], ending: RegExp) =>
  log
    .filter((line) => ending.test(line))
    .map((line) => Number(/^#(\d+)/.exec(line)?.[1]))
    .toSorted((a, b) => a - b)

describe("A Dockerfile of several stages", () => {
  test("ends in an image that holds what it took from them and nothing else", async () => {
    const { reason, log } = await build("stages", { ...FILES, server })
    expect(reason, log.join("\n")).toBeUndefined()
    expect(log.join("\n")).not.toContain("exit 1")
    expect(log).toContain("#3 runs: 1")
    expect(log).toEqual(expect.arrayContaining(["#9 440 7", "#10 gone with it"]))
    expect(log.join("\n")).not.toContain("nobody knows")
    await using vm = await readerOf(daemon, "stages")
    expect(await vm.read("/data/kept/b/one.txt")).toBe("one\n")
    expect(await vm.read("/data/kept/b/two.txt")).toBe("two\n")
    expect(await vm.read("/data/kept/b/three.md")).toBe(404)
    expect(await vm.read("/data/logs/deep/kept")).toBe("kept\n")
    expect(await vm.read("/data/logs/deep/left.log")).toBe(404)
    expect(await vm.read("/data/heredoc")).toBe("from a heredoc\n")
    expect(await vm.read("/found")).toBe("one\none\nmore\ntmpfs\nlo\none\n")
    expect(await vm.read("/bin/sh")).toBe(404)
  })

  test("executes of a changed one what depends on the change, and nothing that only others need", async () => {
    const { reason, log } = await build("stages-changed", {
      ...FILES,
      server: Buffer.concat([server, Buffer.from("changed")]),
    })
    expect(reason, log.join("\n")).toBeUndefined()
    // What came of the maker is new: its steps behind the COPY, and those of the target.
    expect(steps(log, / DONE /)).toEqual([2, 3, 4, 12, 13, 14, 15])
    // Another image, so another cache.
    expect(log).toContain("#3 runs: 1")
  })

  test("that requires a secret which nobody has configured fails with its line and what to do", async () => {
    const { reason } = await build("no-secret", {
      Dockerfile: "FROM torpor/debian:13\nRUN --mount=type=secret,id=other,required cat /run/secrets/other\nCMD x\n",
    })
    expect(reason).toMatch(/^Dockerfile line 2: .*there is no secret 'other': the operator names it under "secrets"/)
  })
})

test("An image of more steps than a disk may have files is whole, and goes on from the cache", async () => {
  // Directories cost no process.
  const directories = Array.from({ length: 18 }, (_, step) => `WORKDIR /steps/${step}`)
  for (const [name, added, cached] of [
    ["deep", [], 0],
    ["deeper", ["WORKDIR /steps/more"], 19],
  ] as const) {
    const { reason, log } = await build(name, {
      server,
      Dockerfile: [
        "FROM torpor/debian:13",
        "COPY --chmod=755 server /",
        ...directories,
        ...added,
        "RUN ls /steps | wc -l > /count",
        'CMD ["/server"]',
      ].join("\n"),
    })
    expect(reason, log.join("\n")).toBeUndefined()
    expect(log.filter((line) => line.endsWith(" CACHED"))).toHaveLength(cached)
    await using vm = await readerOf(daemon, name)
    expect(await vm.read("/count")).toBe(`${18 + added.length}\n`)
  }
})
