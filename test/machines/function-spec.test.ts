import { describe, expect, it } from "vitest"
import { defaultSettings } from "../../machines/functions/default-settings.ts"
import type { Definition } from "../../machines/functions/definition.ts"
import { drivesOf, toFunctionSpec, type FunctionSpecOptions } from "../../machines/functions/function-spec.ts"
import { credentialsOf } from "../../machines/functions/roles.ts"
import type { FunctionSettings } from "../../src/db/function-values.ts"

const settings: FunctionSettings = {
  ...defaultSettings,
  runtime: "python3.13",
  handler: "index.handler",
  role: "arn:aws:iam::000000000000:role/lambda",
  memoryMiB: 256,
}
const definitionOf = (changed: Partial<FunctionSettings> = {}, more: Partial<Definition> = {}): Definition => ({
  id: "one",
  scope: { account: "000000000000", region: "eu-central-1" },
  functionId: "f",
  versionId: "v",
  name: "hello",
  version: "3",
  settings: { ...settings, ...changed },
  environment: {},
  code: "code",
  layers: [],
  ...more,
})
const options: FunctionSpecOptions = { initialization: "on-demand", logGroup: "/aws/lambda/hello", logStream: "stream" }
const variablesOf = (definition: Definition, given: Partial<FunctionSpecOptions> = {}) =>
  toFunctionSpec(definition, { ...options, ...given }).runtime.env

describe("A function's programs", () => {
  it("have AWS's variables", () => {
    expect(variablesOf(definitionOf())).toEqual({
      _HANDLER: "index.handler",
      AWS_REGION: "eu-central-1",
      AWS_DEFAULT_REGION: "eu-central-1",
      AWS_EXECUTION_ENV: "AWS_Lambda_python3.13",
      AWS_LAMBDA_FUNCTION_NAME: "hello",
      AWS_LAMBDA_FUNCTION_VERSION: "3",
      AWS_LAMBDA_FUNCTION_MEMORY_SIZE: "256",
      AWS_LAMBDA_INITIALIZATION_TYPE: "on-demand",
      AWS_LAMBDA_LOG_GROUP_NAME: "/aws/lambda/hello",
      AWS_LAMBDA_LOG_STREAM_NAME: "stream",
      AWS_XRAY_CONTEXT_MISSING: "LOG_ERROR",
      AWS_XRAY_DAEMON_ADDRESS: "169.254.100.1:2000",
      _AWS_XRAY_DAEMON_ADDRESS: "169.254.100.1",
      _AWS_XRAY_DAEMON_PORT: "2000",
      LAMBDA_TASK_ROOT: "/var/task",
      LAMBDA_RUNTIME_DIR: "/var/runtime",
      LANG: "en_US.UTF-8",
      TZ: ":UTC",
      LD_LIBRARY_PATH: "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
      PATH: "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
      PYTHONPATH: "/var/runtime",
    })
  })

  it("have their own variables, in place of all but the platform's", () => {
    const environment = { TZ: "Europe/Berlin", GREETING: "hi", AWS_LAMBDA_FUNCTION_NAME: "other" }
    expect(variablesOf(definitionOf({}, { environment }))).toMatchObject({
      TZ: "Europe/Berlin",
      GREETING: "hi",
      AWS_LAMBDA_FUNCTION_NAME: "hello",
    })
  })

  it("have a log's format and level, and credentials, where there are any", () => {
    const logging = { ...settings.logging, format: "JSON" as const, applicationLevel: "DEBUG" }
    const credentials = { accessKeyId: "key", secretAccessKey: "secret", sessionToken: "token" }
    expect(variablesOf(definitionOf({ logging }), { credentials })).toMatchObject({
      AWS_LAMBDA_LOG_FORMAT: "JSON",
      AWS_LAMBDA_LOG_LEVEL: "DEBUG",
      AWS_ACCESS_KEY_ID: "key",
      AWS_SECRET_ACCESS_KEY: "secret",
      AWS_SESSION_TOKEN: "token",
    })
  })

  it("are told where a language's modules are, and a custom runtime not what it is", () => {
    const node = variablesOf(definitionOf({ runtime: "nodejs22.x" }))
    expect(node["NODE_PATH"]).toMatch(/^\/opt\/nodejs\/node22\/node_modules:\/opt\/nodejs\/node_modules:/)
    expect(node["PYTHONPATH"]).toBeUndefined()
    const provided = variablesOf(definitionOf({ runtime: "provided.al2023" }))
    expect(Object.keys(provided)).not.toContain("AWS_EXECUTION_ENV")
  })

  it("have their role's credentials, where it is their account's and the operator has given it any", () => {
    const theirs = { accessKeyId: "AKIA", secretAccessKey: "secret" }
    const [own, foreign] = ["000000000000", "111111111111"].map((account) => `arn:aws:iam::${account}:role/r`)
    const roles = { [own!]: theirs, [foreign!]: theirs }
    const found = (role: string) => credentialsOf(roles, definitionOf({ role }))
    expect([own!, foreign!, "arn:aws:iam::000000000000:role/constructor"].map(found)).toEqual([
      theirs,
      undefined,
      undefined,
    ])
  })

  it("have what an image has, where their runtime is one of the operator's", () => {
    const { env, mounts = [] } = toFunctionSpec(definitionOf({ runtime: "python3.12" }), options).runtime
    expect(env["AWS_EXECUTION_ENV"]).toBe("AWS_Lambda_python3.12")
    expect(mounts.map(({ target }) => target)).toEqual(["/var/task", "/tmp"])
  })

  it("start Java with a heap of the memory's larger part, which it has from its start to its end", () => {
    const argvOf = (runtime: string) => toFunctionSpec(definitionOf({ runtime, memoryMiB: 512 }), options).runtime.argv
    expect(argvOf("java21")).toEqual(["/var/runtime/bootstrap", "-XX:MaxHeapSize=445644K"])
    expect(argvOf("python3.13")).toEqual(["/var/runtime/bootstrap"])
  })

  it("have a processor by their memory, where it isn't an emulated one", () => {
    const shareOf = (memoryMiB: number, sharesProcessor: boolean) =>
      toFunctionSpec(definitionOf({ memoryMiB }), { ...options, sharesProcessor }).processorShare
    expect(shareOf(128, true)).toBeCloseTo(0.072, 3)
    expect([shareOf(1769, true), shareOf(128, false)]).toEqual([undefined, undefined])
  })

  it("run the agent's Node where the root disk has the same", () => {
    const nodesOf = (runtime: string) =>
      toFunctionSpec(definitionOf({ runtime }), options).runtime.mounts?.filter(({ kind }) => kind === "node")
    expect(nodesOf("nodejs24.x")).toEqual([{ kind: "node", target: "/usr/local/bin/node" }])
    expect([nodesOf("nodejs22.x"), nodesOf("python3.13")]).toEqual([[], []])
  })

  it("write to /tmp alone, and find layers only where there are any", () => {
    const targets = (definition: Definition) =>
      toFunctionSpec(definition, options).runtime.mounts?.map((mount) => [
        mount.target,
        mount.kind === "bind" && mount.isWritable === true,
      ])
    const own = [
      ["/var/runtime", false],
      ["/var/lang", false],
      ["/var/task", false],
    ]
    expect(targets(definitionOf())).toEqual([...own, ["/tmp", true]])
    const layered = definitionOf({}, { layers: ["a"] })
    expect(targets(layered)).toEqual([...own, ["/opt", false], ["/tmp", true]])
    expect(drivesOf(layered).map(({ drive, isReadOnly }) => [drive, isReadOnly])).toEqual([
      [1, true],
      [2, true],
      [3, false],
    ])
  })
})
