import { expect, test } from "vitest"
import { KEYWORDS } from "../../../images/dockerfile/text/keywords.ts"
import { planOf } from "./planning.ts"

const SH = ["/bin/sh", "-c"]

/** What the reference gives as the forms of each instruction, and what comes of them. Source: https://docs.docker.com/reference/dockerfile/ */
const FORMS: readonly (readonly [
  form: string,
  lines: string,
  found: { settings?: object; steps?: readonly object[] },
])[] = [
  ["FROM [--platform=<platform>] <image> [AS <name>]", "FROM --platform=linux/amd64 torpor/debian:13 AS b", {}],
  [
    "ARG <name>[=<default value>] [<name>[=<default value>]...]",
    "ARG a=1 b\nRUN x",
    { steps: [{ environment: { a: "1" } }] },
  ],
  [
    "ENV <key>=<value> [<key>=<value>...]",
    'ENV a="b c" d=e\\ f',
    { settings: { environment: { a: "b c", d: "e f" } } },
  ],
  ["ENV <key> <value>", "ENV a b = c", { settings: { environment: { a: "b = c" } } }],
  [
    "LABEL <key>=<value> [<key>=<value>...]",
    'LABEL "a b"="c" d=e\\\nf',
    { settings: { labels: { "a b": "c", d: "ef" } } },
  ],
  ["MAINTAINER <name>", "MAINTAINER a b", { steps: [], settings: { labels: {} } }],
  ["RUN <command>", "RUN a $b", { steps: [{ argv: [...SH, "a $b"] }] }],
  ['RUN [ "<command>", ... ]', 'RUN [ "a", "$b" ]', { steps: [{ argv: ["a", "$b"] }] }],
  ["RUN <<EOF", "RUN <<EOF\na\nEOF", { steps: [{ argv: [...SH, "a\n"] }] }],
  ["RUN --mount=type=bind", "RUN --mount=target=/x a", { steps: [{ mounts: [{ kind: "bind", writable: false }] }] }],
  [
    "RUN --mount=type=cache",
    "RUN --mount=type=cache,target=/x a",
    { steps: [{ mounts: [{ kind: "cache", id: "/x" }] }] },
  ],
  ["RUN --mount=type=tmpfs", "RUN --mount=type=tmpfs,target=/x a", { steps: [{ mounts: [{ kind: "tmpfs" }] }] }],
  [
    "RUN --mount=type=secret",
    "RUN --mount=type=secret,id=x a",
    { steps: [{ mounts: [{ kind: "secret", target: "/run/secrets/x" }] }] },
  ],
  ["RUN --network=<TYPE>", "RUN --network=none a", { steps: [{ network: "none" }] }],
  ["RUN --security=sandbox", "RUN --security=sandbox a", { steps: [{ argv: [...SH, "a"] }] }],
  ["COPY <src> ... <dest>", "COPY a b /c/", { steps: [{ sources: ["a", "b"], destination: "/c/", unpacked: "none" }] }],
  ['COPY ["<src>", ... "<dest>"]', 'COPY ["a b", "/c d"]', { steps: [{ sources: ["a b"], destination: "/c d" }] }],
  ["COPY --from", "COPY --from=0 a b\n", { steps: [{ from: { kind: "stage", stage: 0 } }] }],
  ["COPY --chown --chmod", "COPY --chown=a:b --chmod=644 a b", { steps: [{ owner: "a:b", mode: "644" }] }],
  ["COPY --link", "COPY --link a b", { steps: [{ link: true }] }],
  ["COPY --parents", "COPY --parents ./x/./y /z/", { steps: [{ parents: true, sources: ["./x/./y"] }] }],
  ["COPY --exclude", "COPY --exclude=*.txt hom* /d/", { steps: [{ excluded: ["*.txt"], sources: ["hom*"] }] }],
  [
    "COPY <<EOF <dest>",
    "COPY <<EOF /c\na\nEOF",
    { steps: [{ inline: [{ name: "EOF", content: "a\n" }], sources: [] }] },
  ],
  ["ADD <src> ... <dest>", "ADD a /c", { steps: [{ sources: ["a"], unpacked: "local" }] }],
  ['ADD ["<src>", ... "<dest>"]', 'ADD ["a b", "/c"]', { steps: [{ sources: ["a b"] }] }],
  ["ADD <url> <dest>", "ADD https://e.org/a /c/", { steps: [{ remote: [{ url: "https://e.org/a", name: "a" }] }] }],
  [
    "ADD --checksum",
    `ADD --checksum=sha256:${"0".repeat(64)} https://e.org/a /c`,
    { steps: [{ remote: [{ checksum: `sha256:${"0".repeat(64)}` }] }] },
  ],
  ["ADD --unpack", "ADD --unpack=true https://e.org/a.tar /c/", { steps: [{ unpacked: "all" }] }],
  ["WORKDIR /path/to/workdir", "WORKDIR /a\nWORKDIR b\nWORKDIR c", { settings: { workingDirectory: "/a/b/c" } }],
  ["USER <user>[:<group>]", "USER a:b", { settings: { user: "a:b" } }],
  ["USER UID[:GID]", "USER 1:2", { settings: { user: "1:2" } }],
  ["EXPOSE <port>[/<protocol>] [<port>...]", "EXPOSE 80 81/tcp 53/udp", { settings: { exposedPorts: [80, 81] } }],
  ['VOLUME ["/data"]', 'VOLUME ["/a", "/b c"]', { settings: { volumes: ["/a", "/b c"] } }],
  ["VOLUME /data ...", "VOLUME /a /b", { settings: { volumes: ["/a", "/b"] } }],
  ["STOPSIGNAL signal", "STOPSIGNAL SIGUSR1", { settings: { stopSignal: "SIGUSR1" } }],
  [
    "HEALTHCHECK [OPTIONS] CMD command",
    "HEALTHCHECK --retries=2 CMD a b",
    { settings: { healthcheck: { argv: [...SH, "a b"], retries: 2 } } },
  ],
  ["HEALTHCHECK NONE", "HEALTHCHECK CMD a\nHEALTHCHECK NONE", { settings: { healthcheck: null } }],
  ['SHELL ["executable", "parameters"]', 'SHELL ["bash", "-c"]\nRUN a', { steps: [{ argv: ["bash", "-c", "a"] }] }],
  ["ONBUILD INSTRUCTION", "ONBUILD ADD . /app/src", { steps: [], settings: { onBuild: ["ADD . /app/src"] } }],
  ['CMD ["executable","param1","param2"]', 'CMD ["a", "b"]', { settings: { argv: ["a", "b"] } }],
  ['CMD ["param1","param2"]', 'ENTRYPOINT ["e"]\nCMD ["a", "b"]', { settings: { argv: ["e", "a", "b"] } }],
  ["CMD command param1 param2", "CMD a b", { settings: { argv: [...SH, "a b"] } }],
  ['ENTRYPOINT ["executable", "param1"]', 'CMD []\nENTRYPOINT ["e", "f"]', { settings: { argv: ["e", "f"] } }],
  ["ENTRYPOINT command param1", "CMD []\nENTRYPOINT e f", { settings: { argv: [...SH, "e f"] } }],
]

test.for(FORMS)("%s", async ([, lines, found]) => {
  const text = lines.startsWith("FROM") ? lines : `FROM scratch\nFROM torpor/debian:13\n${lines}`
  const { stages, settings } = await planOf(/^CMD|^ENTRYPOINT/m.test(lines) ? text : `${text}\nCMD x`)
  expect({ settings, steps: stages.at(-1)!.steps }).toMatchObject(found)
})

test("There is a form of every instruction", () => {
  expect(new Set(FORMS.map(([form]) => form.split(" ")[0]))).toEqual(KEYWORDS)
})
