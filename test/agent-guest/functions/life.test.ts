import { describe, expect, onTestFinished, test } from "vitest"
import { startLife, type LifeOptions, type Program } from "../../../images/agent/functions/life/life.ts"
import { toProgram } from "../../../images/agent/functions/life/programs.ts"
import type { ProgramPort } from "../../../images/agent/functions/program-port.ts"
import type { ProcessEnd } from "../../../src/agent/protocol.ts"
import { createChildProcesses, toSpec } from "./child-processes.ts"
import { eventOf, openPort, resultOf } from "./program.ts"

const toOptions = (programPort: ProgramPort, extensions: readonly string[]): Omit<LifeOptions, "start"> => ({
  programPort,
  identity: { functionName: "f", functionVersion: "1", handler: "h", accountId: "0" },
  extensions,
  initializationType: "on-demand",
})

/** Programs of these scripts; `said` is what all of them said, a line each. */
const startPrograms = async (scripts: { runtime: string } & Record<string, string>) => {
  const said: string[] = []
  const programPort = await openPort()
  onTestFinished(() => programPort.close())
  const processes = createChildProcesses()
  const start: LifeOptions["start"] = async (extension = "runtime", onLine) => {
    const script = scripts[extension] ?? ""
    if (script === "") throw new Error("permission denied")
    const listen = (line: string) => {
      said.push(line)
      onLine(line)
    }
    const { env, ...spec } = toSpec(script)
    const told = { ...env, NAME: extension, AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${programPort.port}` }
    await processes.start(extension, { ...spec, env: told })
    return toProgram(processes, extension, listen, true)
  }
  const extensions = Object.keys(scripts).filter((name) => name !== "runtime")
  const life = startLife({ ...toOptions(programPort, extensions), start })
  return { life, said }
}

const SERVE = `
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while event=$(curl -sS -D /tmp/headers-$$ "$api/next"); do
  id=$(sed -n 's/^lambda-runtime-aws-request-id: *\\([^[:space:]]*\\).*/\\1/ip' /tmp/headers-$$)
  rm /tmp/headers-$$
  case $event in *exit*) exit 3 ;; *kill*) kill -9 $$ ;; *leave*) exit 0 ;; esac
  curl -sS "$api/$id/response" -d "$event" > /dev/null
done`
const EXTEND = (onShutdown: string) => `
echo $NAME registers
api="http://$AWS_LAMBDA_RUNTIME_API/2020-01-01/extension"
id=$(curl -sS -D - -o /dev/null -H "Lambda-Extension-Name: $NAME" -d '{"events":["INVOKE","SHUTDOWN"]}' "$api/register" |
  sed -n 's/^lambda-extension-identifier: *\\([^[:space:]]*\\).*/\\1/ip')
while event=$(curl -sS -H "Lambda-Extension-Identifier: $id" "$api/event/next"); do
  case $event in *SHUTDOWN*) ${onShutdown} ;; *crash*) exit 4 ;; esac
done`

describe("A life of a function's programs", () => {
  test("begins with the extensions, and ends with their being told, after the runtime", async () => {
    const runtime = `echo runtime starts; trap 'echo runtime ends; exit' TERM; ${SERVE}`
    const { life, said } = await startPrograms({ runtime, one: EXTEND('echo "$event"; exit') })
    await life.api.initialised
    expect(await resultOf(life.api.invoke(eventOf(1)))).toEqual({ response: "1" })
    const before = Date.now()
    await life.end("SPINDOWN")
    expect(said.slice(0, 2)).toEqual(["one registers", "runtime starts"])
    const told = JSON.parse(said.at(-1) ?? "") as { deadlineMs: number }
    expect(told).toEqual({
      eventType: "SHUTDOWN",
      shutdownReason: "SPINDOWN",
      deadlineMs: expect.any(Number) as number,
    })
    expect(told.deadlineMs).toBeGreaterThanOrEqual(before + 2000)
    expect(told.deadlineMs).toBeLessThanOrEqual(Date.now() + 2000)
    await expect(fetch(`http://127.0.0.1:${life.api.port}/2018-06-01/ping`)).rejects.toThrow()
  })

  test("is over within its time, whatever its programs do with it", async () => {
    const stubborn = "trap '' TERM; "
    const { life } = await startPrograms({ runtime: stubborn + SERVE, one: stubborn + EXTEND("sleep 1000") })
    await life.api.initialised
    await life.end("TIMEOUT")
    const alone = await startPrograms({ runtime: stubborn + SERVE })
    await alone.life.api.initialised
    await alone.life.end("FAILURE")
  })

  test("asks its runtime to end where extensions are a part of that, and kills it where there are none", async () => {
    for (const isExtended of [false, true]) {
      const programPort = await openPort()
      onTestFinished(() => programPort.close())
      const asked: string[] = []
      const [started, ended] = [Promise.withResolvers<void>(), Promise.withResolvers<ProcessEnd>()]
      const runtime: Program = {
        ended: ended.promise,
        letGo: () => {},
        terminate: async () => void asked.push("terminate"),
        async kill() {
          asked.push("kill")
          ended.resolve({ code: 137, signal: "SIGKILL" })
        },
      }
      const start = async () => {
        started.resolve()
        return runtime
      }
      const life = startLife({ ...toOptions(programPort, []), start })
      await started.promise
      if (isExtended)
        await fetch(`http://127.0.0.1:${programPort.port}/2020-01-01/extension/register`, {
          method: "POST",
          headers: { "Lambda-Extension-Name": "inner" },
          body: '{"events":["INVOKE"]}',
        })
      await life.end("SPINDOWN")
      expect(asked).toEqual(isExtended ? ["terminate", "kill"] : ["kill"])
    }
  })

  test("fails with its runtime, which says how it exited to who has invoked it", async () => {
    for (const [event, why] of [
      ["leave", "Runtime exited without providing a reason"],
      ["exit", "Runtime exited with error: exit status 3"],
      ["kill", "Runtime exited with error: signal: killed"],
    ]) {
      const { life } = await startPrograms({ runtime: SERVE })
      await life.api.initialised
      const answer = life.api.invoke(eventOf(event, { requestId: "id" }))
      expect(await resultOf(answer)).toEqual({
        response: "",
        errorType: "Runtime.ExitError",
        error: { errorType: "Runtime.ExitError", errorMessage: `RequestId: id Error: ${why}` },
      })
      await life.end("FAILURE")
    }
  })

  test("fails with an extension that crashes, or that cannot be started, and then starts no runtime", async () => {
    const crashing = await startPrograms({ runtime: "echo runtime starts", one: "exit 5" })
    expect(String((await crashing.life.api.failed).body)).toMatch(
      /"Extension\.Crash".* Error: extension one: exit status 5"/,
    )
    await crashing.life.end("FAILURE")
    const unstarted = await startPrograms({ runtime: "echo runtime starts", one: "" })
    expect(String((await unstarted.life.api.failed).body)).toMatch(/"Extension\.LaunchError".*permission denied"/)
    await unstarted.life.end("FAILURE")
    expect([...crashing.said, ...unstarted.said]).toEqual([])
    const late = await startPrograms({ runtime: SERVE, one: EXTEND("exit") })
    await late.life.api.initialised
    expect(await resultOf(late.life.api.invoke(eventOf("x", { traceId: "crash" })))).toMatchObject({
      errorType: "Extension.Crash",
    })
    await late.life.end("FAILURE")
  })

  test("that is ended while an extension has not yet registered starts no runtime any more", async () => {
    const { life, said } = await startPrograms({ runtime: "echo runtime starts", one: "echo waits; exec sleep 1000" })
    await expect.poll(() => said).toEqual(["waits"])
    await life.end("SPINDOWN")
    expect(said).toEqual(["waits"])
  })
})
