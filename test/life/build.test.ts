import { TerminateMicrovmCommand } from "@aws-sdk/client-lambda-microvms"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { bodyOf } from "../fixtures/answers.ts"
import { startTestDaemon, type TestDaemon } from "../fixtures/daemon.ts"
import { buildOf, type BuildResult } from "./build-result.ts"

const MANAGED = `FROM torpor/debian:13
RUN node --version && python3 --version && . /etc/os-release && echo "$PRETTY_NAME"
RUN git --version && curl --version && npm --version && pip --version && make --version && test -s /etc/ssl/certs/ca-certificates.crt
RUN python3 -c 'import ensurepip; print(ensurepip.version())' && python3 -m venv --without-pip /venv && /venv/bin/python --version
RUN echo 'int main() { return 0; }' > a.c && cp a.c a.cc && gcc -O2 a.c -o a && ./a && g++ a.cc -o b && ./b
RUN echo '#include <Python.h>' > p.c && gcc -c $(python3-config --includes) p.c && echo can build extensions
RUN curl --silent --fail --max-time 60 http://deb.debian.org/debian/dists/trixie/Release | grep ^Codename
CMD ["sleep", "1000"]
`

const opened = new AsyncDisposableStack()
let daemon: TestDaemon
/** It mostly waits: others are built beside it. */
let managed: Promise<BuildResult>
beforeAll(async () => {
  daemon = opened.use(await startTestDaemon())
  managed = build("managed", { Dockerfile: MANAGED })
  // Its test is the last.
  managed.catch(() => {})
})
afterAll(() => opened.disposeAsync())
const build = (name: string, files: Record<string, string>) => buildOf(daemon, name, files)

/** It answers with what the application finds around itself. */
const SERVER = `from http.server import BaseHTTPRequestHandler, HTTPServer
import grp, json, os, pwd, subprocess, sys
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        found = subprocess.run(["find", "/srv/app", "/made", "/opt/plain", "-printf", "%p %u:%g %m %l\\n"], capture_output=True, text=True)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({
            "argv": sys.argv[1:], "cwd": os.getcwd(), "environment": dict(os.environ),
            "user": pwd.getpwuid(os.getuid()).pw_name, "group": grp.getgrgid(os.getgid()).gr_name,
            "files": sorted(found.stdout.splitlines()),
        }).encode())
HTTPServer(("", 9000), Handler).serve_forever()
`

const DOCKERFILE = `# syntax=docker/dockerfile:1
ARG RELEASE=13
FROM torpor/debian:\${RELEASE} AS app
ARG COLOUR=green
ENV COLOUR=\${COLOUR:-red} GREETING="hello  world" \\
    # with a comment inside
    HOME_OF=/srv/app
env OLD form  of it
LABEL org.example.name="app" version=1
RUN groupadd --gid 2000 staffers && useradd --uid 1500 --gid staffers --create-home worker
WORKDIR $HOME_OF
COPY --chown=worker:staffers server.py ./
COPY --chown=1500:0 --chmod=0640 conf/*.ini [ab].txt config/
COPY data /opt/plain
COPY ["with blank é.txt", "renamed file"]
RUN ["touch", "made-$COLOUR"]
RUN echo "$COLOUR $GREETING $OLD" > shell.txt; pwd >> shell.txt; id -un >> shell.txt && cat shell.txt
RUN sleep 1000 & echo begun
RUN [ -z "$(pgrep sleep)" ] && echo nothing goes on
SHELL ["/bin/bash", "-e", "-c"]
RUN <<EOF
[[ -n $COLOUR ]] && echo "a script of two lines, $COLOUR"
ls -a
EOF
COPY --chown=worker <<rendered.ini <<-'as is.ini' config/
colour=$COLOUR
rendered.ini
	colour=$COLOUR
	as is.ini
USER worker:staffers
RUN <<count.py
#!/usr/bin/env python3
print("the lines:", *open("/srv/app/config/rendered.ini"), *open("/srv/app/config/as is.ini"), end="")
count.py
WORKDIR /made/by
RUN id -un > who && echo not root
WORKDIR ..
EXPOSE 53/udp 9000/tcp
ENTRYPOINT ["python3", "/srv/app/server.py"]
CMD ["--quiet", "$COLOUR"]
`

const FILES = {
  Dockerfile: DOCKERFILE,
  "server.py": SERVER,
  "conf/one.ini": "1",
  "conf/two.ini": "2",
  "conf/three.cfg": "3",
  "a.txt": "a",
  "b.txt": "b",
  "c.txt": "c",
  "data/deep/er": "x",
  "data/é [1].log": "left out",
  "data/deep/left out/a": "with its folder",
  ".dockerignore": "**/*.log\nd**/left out\n",
  "with blank é.txt": "é",
}

describe("An image from a Dockerfile", () => {
  test("is what every instruction in it says, as seen from inside the running VM", async () => {
    const { reason, log } = await build("everything", FILES)
    expect(reason, log.join("\n")).toBeUndefined()
    expect(log).toContain("Left out of the context: data/deep/left out, data/é [1].log")
    expect(log).toEqual(expect.arrayContaining(["#8 green hello  world form  of it", "#8 /srv/app", "#8 root"]))
    expect(log).toEqual(expect.arrayContaining(["#9 begun", "#10 nothing goes on", "#15 not root"]))
    expect(log).toEqual(expect.arrayContaining(["#11 a script of two lines, green", "#13 the lines: colour=green"]))
    expect(log).toContain("#13  colour=$COLOUR")
    expect(log).toContain("The application accepts connections on port 9000")
    await using vm = await running("everything", 9000)
    const found = JSON.parse(vm.body) as { files: string[]; environment: Record<string, string> }
    expect(found).toMatchObject({
      argv: ["--quiet", "$COLOUR"],
      cwd: "/made",
      user: "worker",
      group: "staffers",
      environment: {
        COLOUR: "green",
        GREETING: "hello  world",
        HOME_OF: "/srv/app",
        OLD: "form  of it",
        HOME: "/home/worker",
      },
    })
    expect(found.environment["RELEASE"]).toBeUndefined()
    expect(found.files).toEqual([
      "/made worker:staffers 755 ",
      "/made/by worker:staffers 755 ",
      "/made/by/who worker:staffers 644 ",
      "/opt/plain root:root 755 ",
      "/opt/plain/deep root:root 755 ",
      "/opt/plain/deep/er root:root 664 ",
      "/srv/app root:root 755 ",
      "/srv/app/config worker:root 755 ",
      "/srv/app/config/a.txt worker:root 640 ",
      "/srv/app/config/as is.ini worker:staffers 644 ",
      "/srv/app/config/b.txt worker:root 640 ",
      "/srv/app/config/one.ini worker:root 640 ",
      "/srv/app/config/rendered.ini worker:staffers 644 ",
      "/srv/app/config/two.ini worker:root 640 ",
      "/srv/app/made-$COLOUR root:root 644 ",
      "/srv/app/renamed file root:root 664 ",
      "/srv/app/server.py worker:staffers 664 ",
      "/srv/app/shell.txt root:root 644 ",
    ])
  })

  test("is built again from the cache up to the step that changed", async () => {
    const changed = DOCKERFILE.replace("echo not root", "echo another end")
    const { reason, log } = await build("changed", { ...FILES, Dockerfile: changed, "c.txt": "not copied" })
    expect(reason).toBeUndefined()
    expect(log.filter((line) => line.endsWith(" CACHED"))).toHaveLength(14)
    expect(log.filter((line) => / DONE /.test(line)).map((line) => line.split(" ")[0])).toEqual(["#15", "#16"])
    expect(log).toContain("#15 another end")
    expect(log).not.toContain("#9 begun")
  })
})

describe("A step that goes wrong fails its build, with its line and the reason", () => {
  const failing = (...lines: string[]) => ({
    Dockerfile: ["FROM torpor/debian:13", ...lines, 'CMD ["true"]'].join("\n"),
  })

  test.for<[name: string, files: Record<string, string>, reason: RegExp]>([
    [
      "a command that fails",
      failing("", "RUN echo one; echo two >&2; exit 9"),
      /^Dockerfile line 3: RUN .*: exit code 9: (one|two)$/,
    ],
    [
      "a program that isn't there",
      failing('RUN ["/no/such"]'),
      /^Dockerfile line 2: RUN .*: exit code \d+: .*\/no\/such/,
    ],
    [
      "a user who isn't there",
      failing("USER nobody-here", "RUN id"),
      /^Dockerfile line 3: RUN id: unable to find user nobody-here/,
    ],
    ["a file that isn't there", failing("COPY none /x"), /^Dockerfile line 2: "none": not found in the build context$/],
    [
      "an owner who isn't there",
      failing("COPY --chown=none Dockerfile /x"),
      /^Dockerfile line 2: COPY .*: unable to find user none/,
    ],
    [
      "a file for a directory",
      failing("RUN touch /f", "WORKDIR /f/g"),
      /^Dockerfile line 3: WORKDIR \/f\/g: \/f is not a directory$/,
    ],
    [
      "a full disk",
      failing("RUN fallocate -l $(($(df --output=avail -B1 / | tail -1) - 50000000)) /a && cat /dev/zero > /b"),
      /line 2: .*No space left on device$/,
    ],
    ["all memory", failing("RUN tail /dev/zero"), /line 2: .*exit code 137: Killed$/],
    [
      "processes without end",
      failing("RUN mkfifo /never && while :; do read line < /never & done"),
      /line 2: .*exit code 2: .*Cannot fork$/,
    ],
  ])("%s", async ([name, files, reason]) => {
    const result = await build(name.replaceAll(/[^a-z]+/g, "-"), files)
    expect(result.reason).toMatch(reason)
  })

  test("and its words are kept line by line, the first and the last", async () => {
    const { reason, log } = await build(
      "words",
      failing(
        "RUN printf 'one\\ntwo\\n\\nthree' && seq 30000 && head -c 20000 /dev/zero && echo && echo the last; exit 1",
      ),
    )
    expect(reason).toMatch(/exit code 1: the last$/)
    expect(log.slice(2, 8)).toEqual(["#1 one", "#1 two", "#1 ", "#1 three1", "#1 2", "#1 3"])
    expect(log).toHaveLength(2 + 3 + 30_000 + 3 + 1)
    expect(log.slice(-5).map(({ length }) => length)).toEqual([8, 8195, 8195, 3619, 11])
    expect(log.at(-1)).toBe("#1 the last")
  })

  test("and harms neither the daemon nor the next build", async () => {
    const { reason } = await build("after", {
      Dockerfile: "FROM torpor/debian:13\nRUN true\nEXPOSE 8000\nCMD python3 -m http.server",
    })
    expect(reason).toBeUndefined()
  })
})

describe("The managed image", () => {
  test("has what an agent's code expects, and its builds reach the network", async () => {
    const { reason, log } = await managed
    expect(reason).toBeUndefined()
    const said = log.join("\n")
    for (const line of [
      /^#1 v24\./m,
      /^#1 Python 3\.13\./m,
      /^#1 Debian GNU\/Linux 13/m,
      /can build extensions$/m,
      /^#6 Codename: trixie$/m,
    ])
      expect(said).toMatch(line)
    // Nothing of it listens: the image is kept, and its author is told.
    expect(said).toContain("WARNING: nothing accepted connections on port 8080 within 30 s; the image is kept as it is")
  })
})

/** A VM of an image that has answered once. */
const running = async (image: string, port: number) => {
  const vm = await daemon.run({ image })
  const token = await daemon.token(vm.id, [{ port }])
  const reach = { "x-aws-proxy-port": String(port), "x-aws-proxy-auth": token }
  return {
    body: await bodyOf(daemon, vm, "/", reach),
    async [Symbol.asyncDispose]() {
      vm.close()
      await daemon.client.send(new TerminateMicrovmCommand({ microvmIdentifier: vm.id }))
      await daemon.untilState(vm.id, "TERMINATED")
    },
  }
}
