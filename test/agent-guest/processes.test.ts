import { text } from "node:stream/consumers"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import type { FileSpec, MountSpec, ProcessEnd, ProcessSpec } from "../../src/agent/protocol.ts"
import { bootGuest, type BootedGuest } from "../fixtures/booted-guest.ts"

/** One guest for all of them: none may harm the next. As small as may be: one of them takes all of its memory. */
let booted: BootedGuest
beforeAll(async () => void (booted = await bootGuest(320)))
afterAll(() => booted?.[Symbol.asyncDispose]())

const { signal } = new AbortController()
let count = 0

/** What a process said, by stream and in the order in which it came. */
interface Said {
  readonly how: ProcessEnd
  readonly stdout: string
  readonly stderr: string
}

const start = async (command: string, spec: Partial<ProcessSpec> = {}) => {
  const name = `test-${count++}`
  await booted.agent.startProcess(
    name,
    {
      argv: ["sh", "-c", command],
      env: { PATH: "/usr/bin:/bin" },
      cwd: "/",
      user: "0",
      capabilities: "default",
      memoryMaxMiB: null,
      container: "build",
      ...spec,
    },
    signal,
  )
  return name
}
const follow = async (name: string): Promise<Said> => {
  const said = { stdout: "", stderr: "" }
  const how = await booted.agent.followOutput(name, (data, stream) => void (said[stream] += data), signal)
  return { how, ...said }
}
const run = async (command: string, spec: Partial<ProcessSpec> = {}): Promise<Said> => {
  const name = await start(command, spec)
  const said = await follow(name)
  await booted.agent.endProcess(name, signal)
  return said
}

describe("A process in a guest", () => {
  test("is heard on both streams, each in its order, from its beginning, and its end is told", async () => {
    const name = await start("for i in 1 2 3; do echo out $i; echo err $i >&2; done; printf 'no end'; exit 7")
    const expected = {
      how: { code: 7, signal: null },
      stdout: "out 1\nout 2\nout 3\nno end",
      stderr: "err 1\nerr 2\nerr 3\n",
    }
    expect(await follow(name)).toEqual(expected)
    // Who comes later hears the same.
    expect(await follow(name)).toEqual(expected)
    await booted.agent.endProcess(name, signal)
    await expect(follow(name)).rejects.toThrow(`There is no process ${name}`)
  })

  test.for(["0", "nobody"])("is heard as user %s at /dev/stdout and /dev/stderr too", async (user) => {
    const command = "echo out > /dev/stdout; echo err > /dev/stderr; echo appended >> /proc/self/fd/2"
    const { stdout, stderr } = await run(command, { user })
    expect({ stdout, stderr }).toEqual({ stdout: "out\n", stderr: "err\nappended\n" })
  })

  test("is a function's runtime: it is invoked, may use and change no more than it has, and another follows one that is gone", async () => {
    const code = `
import http.client, json, os, resource, threading
def fails(work):
    try:
        for _ in range(100): work()
    except (RuntimeError, OSError) as error:
        return str(error)
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    answer = api.getresponse()
    event = json.loads(answer.read())
    eaten = []
    while event == "eat": eaten.append(b"x" * (1 << 20))
    print("event", event, flush=True)
    told = {"event": event, "uid": os.getuid(), "at": os.getcwd(), "files": resource.getrlimit(resource.RLIMIT_NOFILE)}
    if event == "limits":
        told["write"] = fails(lambda: open("/var/tmp/file", "w"))
        told["fork"] = fails(lambda: threading.Thread(target=threading.Event().wait, daemon=True).start())
    api.request("POST", "/2018-06-01/runtime/invocation/" + answer.headers["Lambda-Runtime-Aws-Request-Id"] + "/response", json.dumps(told))
    api.getresponse().read()
`
    const spec = {
      identity: { functionName: "f", functionVersion: "1", handler: "h", accountId: "0" },
      initializationType: "on-demand",
      runtime: {
        argv: ["python3", "-c", code],
        env: { PATH: "/usr/bin:/bin" },
        cwd: "/var",
        user: "993:990",
        capabilities: "default",
        memoryMaxMiB: 64,
        pidsMax: 20,
        openFilesMax: 1024,
        isRootReadOnly: true,
        container: "build",
      },
    } as const
    const { agent } = booted
    const invoke = async (event: string) => {
      const said: string[] = []
      const about = { requestId: "r", deadlineMs: 1, functionArn: "arn", mode: "buffered" } as const
      for await (const { kind, content } of agent.invokeFunction(about, Buffer.from(JSON.stringify(event)), signal))
        said.push(kind === "data" || kind === "failure" ? String(content) : kind)
      return said
    }
    for (const life of ["first", "second"]) {
      await agent.startFunction(spec, signal)
      expect(await agent.untilInitialised(signal)).toMatchObject({ failed: null, hasExtensions: false })
      const told = `{"event": "${life}", "uid": 993, "at": "/var", "files": [1024, 1024]}`
      expect(await invoke(life)).toEqual(["head", told, "done", "settled"])
      if (life === "second") {
        const limits = JSON.parse((await invoke("limits"))[1] ?? "") as unknown
        const write = "[Errno 30] Read-only file system: '/var/tmp/file'"
        expect(limits).toMatchObject({ write, fork: "can't start new thread" })
      } else
        expect((await invoke("eat")).join()).toMatch(
          /Runtime\.OutOfMemory\{"errorType":"Runtime\.ExitError".* signal: killed"\},settled$/,
        )
      await agent.endFunction("FAILURE", signal)
    }
  })

  test("that said megabytes which nobody read is heard to the end, and what is lost of it is counted", async () => {
    const name = await start("seq 400000; seq 3 >&2")
    const { how, stdout, stderr } = await follow(name)
    const again = await follow(name)
    await booted.agent.endProcess(name, signal)
    expect(how.code).toBe(0)
    const all = Array.from({ length: 400_000 }, (_, index) => `${index + 1}\n`).join("")
    const lost = /^\[(\d+) characters of output were lost\]\n/gm
    for (const said of [{ stdout, stderr }, again]) {
      expect(said.stderr.replaceAll(lost, "")).toBe("1\n2\n3\n")
      expect(all.endsWith(said.stdout.slice(-100_000))).toBe(true)
    }
    // The one that came too late for most of it.
    expect(again.stdout.length + Number([...again.stderr.matchAll(lost)][0]?.[1])).toBe(all.length)
    expect(again.stdout.length).toBeLessThan(512 * 1024)
  })

  test("is ended with all that it has started, wherever that went", async () => {
    // Grandchildren in a session of their own, one of which holds a port: a guest's containers share its network.
    const server = "python3 -m http.server 7000"
    const name = await start(`(setsid nohup sh -c '${server} & wait' > /dev/null 2>&1 &) ; echo begun; sleep 1000`)
    await booted.agent.untilListening(7000, signal)
    await booted.agent.endProcess(name, signal)
    const connect = "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 7000))'"
    expect((await run(connect)).stderr).toContain("Connection refused")
    await expect(follow(name)).rejects.toThrow("There is no process")
  })
})

describe("What a build step's mounts stand on", () => {
  const secret: FileSpec = { path: "/secrets/of/step", content: "nobody knows", mode: 0o400, uid: 0, gid: 0 }
  const memory: MountSpec = { kind: "tmpfs", target: "/memory", sizeBytes: null }

  test.for([0, 3])(
    "is gone when the end of the step is told, whether it went well or not: exit code %i",
    async (code) => {
      const left = "touch /secrets/left"
      const said = await run(`cat /secrets/of/step && ${left} && stat -f -c %T /memory && exit ${code}`, {
        files: [secret],
        mounts: [memory],
      })
      expect(said).toEqual({ how: { code, signal: null }, stdout: "nobody knowstmpfs\n", stderr: "" })
      expect((await run("ls -A /secrets; ls /memory")).stdout).toBe("left\n")
    },
  )

  test("is gone when the step was ended, however early", async () => {
    const name = await start("sleep 1000", { files: [{ ...secret, path: "/ended/token" }] })
    await booted.agent.endProcess(name, signal)
    expect((await run("[ -e /ended ] || echo gone")).stdout).toBe("gone\n")
  })
})

describe("Bounds of an application", () => {
  test("hold its fork bomb, which leaves the agent to end it", async () => {
    // The first of them waits: a shell that cannot fork ends by itself.
    const name = await start("sleep 1000 & f() { while :; do f & done; }; f & wait", { container: "app" })
    const full = Promise.withResolvers<void>()
    const ended = booted.agent.followOutput(name, (data) => data.includes("Cannot fork") && full.resolve(), signal)
    await full.promise
    expect((await run("echo still here")).stdout).toBe("still here\n")
    await booted.agent.endProcess(name, signal)
    expect(await ended).toMatchObject({ signal: "SIGKILL" })
  })

  test("end what takes all memory, and the agent tells why", async () => {
    const { how } = await run("tail /dev/zero", { container: "app" })
    expect(how).toEqual({ code: 137, signal: "SIGKILL", outOfMemory: true })
    const name = await start("echo begun; sleep 1000", { container: "app" })
    const ended = follow(name)
    await booted.agent.endProcess(name, signal)
    expect((await ended).how).toEqual({ code: 137, signal: "SIGKILL" })
  })
})

describe("Files of a guest", () => {
  test("are those that its processes see, both ways", async () => {
    await booted.agent.writeFile(
      "/new/from-host",
      (async function* source() {
        yield Buffer.from("from the host\n")
      })(),
      { maxBytes: 100, mode: 0o640, owner: "nobody", makeParents: true },
      signal,
    )
    const { stdout } = await run("stat -c '%U %a' /new /new/from-host && cat /new/from-host && echo back > /new/back")
    expect(stdout).toBe("nobody 755\nnobody 640\nfrom the host\n")
    const { content } = await booted.agent.readFile("/new/back", 100, signal)
    expect(await text(content)).toBe("back\n")
    const { entries } = await booted.agent.listDirectory("/new", { limit: 10 }, signal)
    expect(entries.map(({ name, size }) => [name, size])).toEqual([
      ["back", 5],
      ["from-host", 14],
    ])
    await booted.agent.removeFile("/new/back", signal)
    expect((await run("ls /new")).stdout).toBe("from-host\n")
  })
})
