import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { startTestDaemon, type TestDaemon } from "../fixtures/daemon.ts"
import { buildOf } from "./build-result.ts"
import { readerOf } from "./reader.ts"
import { SERVER_C } from "./static-server.ts"

let daemon: TestDaemon
beforeAll(async () => void (daemon = await startTestDaemon()))
afterAll(() => daemon[Symbol.asyncDispose]())
const build = (name: string, files: Record<string, string>) => buildOf(daemon, name, files)

const DOCKERFILE = `# syntax=docker/dockerfile:1
ARG RELEASE=13
FROM --platform=$BUILDPLATFORM torpor/debian:\${RELEASE} AS compiler
WORKDIR /src
COPY server.c ./
RUN --mount=type=cache,target=/cache,id=objects echo run >> /cache/runs && echo "runs: $(wc -l < /cache/runs)"
RUN gcc -O1 -static -o /out server.c && touch "/made on $TARGETARCH"

FROM compiler AS never
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
RUN --mount=type=bind,source=a,target=/again cat /again/b/one.txt >> /found

FROM scratch
COPY --from=compiler /out /server
COPY --from=compiler ["/made on *", "/compiled/"]
COPY --from=data / /data/
COPY --from=tools --chmod=0644 /found /found
EXPOSE 8080
CMD ["/server"]
`
const FILES = {
  Dockerfile: DOCKERFILE,
  "server.c": SERVER_C,
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
    const { reason, log } = await build("stages", FILES)
    expect(reason, log.join("\n")).toBeUndefined()
    expect(log.join("\n")).not.toContain("exit 1")
    expect(log).toContain("#3 runs: 1")
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
    const { reason, log } = await build("stages-changed", { ...FILES, "server.c": `${SERVER_C}// changed\n` })
    expect(reason, log.join("\n")).toBeUndefined()
    // What came of the compiler is new: its steps behind the COPY, and those of the target.
    expect(steps(log, / DONE /)).toEqual([2, 3, 4, 10, 11, 12, 13])
    // Another image, so another cache.
    expect(log).toContain("#3 runs: 1")
  })
})
