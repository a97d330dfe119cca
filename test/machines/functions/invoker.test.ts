import { randomUUID } from "node:crypto"
import { eq } from "drizzle-orm"
import { pino } from "pino"
import { Registry } from "prom-client"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { openInvoker, type InvokingLimits } from "../../../machines/functions/invoking/open-invoker.ts"
import { registerInvokingMetrics } from "../../../machines/functions/invoking/metrics.ts"
import type { InvokeRequest } from "../../../machines/functions/invoking/invoker.ts"
import { openUsageCounts } from "../../../machines/functions/usage/usage-counts.ts"
import { functionUsage, functionVersions } from "../../../src/db/functions.ts"
import {
  codeOf,
  functionInput,
  startFunctions,
  type FunctionsUnderTest,
} from "../../api/functions/functions-under-test.ts"
import { account, region } from "../../api/api-under-test.ts"
import { createMemoryEnvironments, type MemoryOptions } from "./memory-environments.ts"

const scope = { account, region }
const log = pino({ level: "silent" })

const requestOf = (name: string, qualifier?: string, more: Partial<InvokeRequest> = {}): InvokeRequest => ({
  requestId: randomUUID(),
  target: { name, qualifier },
  scope,
  payload: Buffer.from("{}"),
  mode: "buffered",
  ...more,
})

describe("The invoker", () => {
  let functions: FunctionsUnderTest
  let names = 0
  beforeAll(async () => {
    functions = await startFunctions()
  })
  afterAll(() => functions?.[Symbol.asyncDispose]())

  const create = async (more: object = {}) => {
    const name = `f${names++}`
    await functions.client().createFunction({ ...(await functionInput(name)), ...more })
    await functions.settling.settled()
    return name
  }

  const open = async (memory: MemoryOptions = {}, limits: Partial<InvokingLimits> = {}) => {
    const { db, secrets, changes } = functions
    const environments = createMemoryEnvironments(memory)
    const usage = openUsageCounts({ db, days: 1, log })
    const opened = await openInvoker({
      db,
      secrets,
      changes,
      environments,
      usage,
      limits: {
        concurrentExecutions: 1000,
        startsPerTenSeconds: 1000,
        startsAtOnce: 8,
        firstStartsAtOnce: 8,
        waiting: { count: 1000, bytes: 2 ** 24, waitMs: 60_000 },
        ...limits,
      },
      onRoom: environments.onRoom,
      log,
    })
    const { signal } = new AbortController()
    return {
      environments,
      usage,
      opened,
      invoke: (name: string, qualifier?: string, more: Partial<InvokeRequest> = {}) =>
        opened.invoker.invoke(requestOf(name, qualifier, more), signal),
      async [Symbol.asyncDispose]() {
        await opened[Symbol.asyncDispose]()
        await usage[Symbol.asyncDispose]()
      },
    }
  }

  const textOf = async (body: AsyncIterable<Buffer>) => {
    const pieces: Buffer[] = []
    for await (const piece of body) pieces.push(piece)
    return Buffer.concat(pieces).toString()
  }

  it("gives an event to the version that was meant, with what it sees of its call", async () => {
    await using invoking = await open()
    const name = await create({ Environment: { Variables: { COLOUR: "red" } }, Timeout: 7 })
    const { executedVersion, body, end, settled } = await invoking.invoke(name, undefined, {
      payload: Buffer.from('{"a":1}'),
      clientContext: "{}",
    })
    expect([executedVersion, await textOf(body), await end]).toEqual(["$LATEST", '{"a":1}', undefined])
    await settled
    const [environment] = invoking.environments.made
    expect(environment?.definition).toMatchObject({
      name,
      version: "$LATEST",
      environment: { COLOUR: "red" },
      layers: [],
    })
    expect(environment?.initialization).toBe("on-demand")
    expect(invoking.opened.concurrency.count).toBe(0)
    const registry = new Registry()
    registerInvokingMetrics(registry, invoking.opened)
    expect(await registry.metrics()).toContain('torpor_function_environments{state="idle"} 1')
  })

  it("tells the function its ARN as it was called, its time, and a trace", async () => {
    const seen: unknown[] = []
    await using invoking = await open({
      handler: ({ spec, timeoutMs }) => {
        seen.push([spec.functionArn, timeoutMs, spec.traceId])
        return { body: "1" }
      },
    })
    const name = await create({ Timeout: 7 })
    await invoking.invoke(name)
    await invoking.invoke(name, "$LATEST", { traceId: "Root=1-1-1" })
    const arn = `arn:aws:lambda:${region}:${account}:function:${name}`
    expect(seen).toEqual([
      [
        arn,
        7000,
        expect.stringMatching(/^Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0;Lineage=[0-9a-f]{8}:1$/),
      ],
      [`${arn}:$LATEST`, 7000, expect.stringMatching(/^Root=1-1-1;Lineage=[0-9a-f]{8}:1$/)],
    ])
  })

  it("refuses what isn't there, and what is on its way", async () => {
    await using invoking = await open()
    const arn = `arn:aws:lambda:${region}:${account}:function`
    const absent = { code: "ResourceNotFoundException", status: 404 }
    await expect(invoking.invoke("nobody")).rejects.toMatchObject({
      ...absent,
      message: `Function not found: ${arn}:nobody:$LATEST`,
    })
    const name = await create()
    for (const qualifier of ["7", "prod"])
      await expect(invoking.invoke(name, qualifier)).rejects.toMatchObject({
        ...absent,
        message: `Function not found: ${arn}:${name}:${qualifier}`,
      })
    await expect(invoking.opened.invoker.check({ name, qualifier: undefined }, scope)).resolves.toBeUndefined()
    await functions.client().createFunction(await functionInput("pending"))
    await functions.settling.settled()
    const owner = await functions.client().getFunction({ FunctionName: "pending" })
    const revisionId = owner.Configuration?.RevisionId ?? ""
    for (const state of ["Pending", "Failed"] as const) {
      await functions.db.update(functionVersions).set({ state }).where(eq(functionVersions.revisionId, revisionId))
      const refused = {
        code: "ResourceConflictException",
        status: 409,
        message: `The operation cannot be performed at this time. The function is currently in the following state: ${state}`,
      }
      await expect(invoking.invoke("pending")).rejects.toMatchObject(refused)
      await expect(
        invoking.opened.invoker.check({ name: "pending", qualifier: undefined }, scope),
      ).rejects.toMatchObject(refused)
    }
  })

  it("shares an alias's events between its two versions by their weights", async () => {
    await using invoking = await open()
    const name = await create({ Publish: true })
    const lambda = functions.client()
    await lambda.updateFunctionCode({ FunctionName: name, ZipFile: await codeOf("2"), Publish: true })
    await functions.settling.settled()
    const alias = { FunctionName: name, Name: "prod", FunctionVersion: "1" }
    const executed = async () => (await invoking.invoke(name, "prod")).executedVersion
    await lambda.createAlias(alias)
    expect(await executed()).toBe("1")
    await lambda.updateAlias({ ...alias, RoutingConfig: { AdditionalVersionWeights: { "2": 1 } } })
    expect(await executed()).toBe("2")
    await lambda.updateAlias({ ...alias, RoutingConfig: { AdditionalVersionWeights: { "2": 0.5 } } })
    const versions = new Set<string>()
    while (versions.size < 2) versions.add(await executed())
    await lambda.updateAlias({ ...alias, RoutingConfig: {} })
    expect(await executed()).toBe("1")
  })

  it("runs what a function has become with its next event, and ends environments of what it was", async () => {
    await using invoking = await open()
    const name = await create()
    const lambda = functions.client()
    const settled = async () => (await invoking.invoke(name)).settled
    await settled()
    await lambda.updateFunctionConfiguration({ FunctionName: name, Description: "no environment sees this" })
    await functions.settling.settled()
    await settled()
    const { made } = invoking.environments
    expect(made.map(({ events }) => events)).toEqual([2])
    await lambda.updateFunctionCode({ FunctionName: name, ZipFile: await codeOf("new") })
    await functions.settling.settled()
    await settled()
    expect(made.map(({ events }) => events)).toEqual([2, 1])
    await made[0]?.over
    expect(made[0]?.ended).toEqual({ cause: "api", reason: "Its function has changed" })
    await lambda.deleteFunction({ FunctionName: name })
    await made[1]?.over
    expect(made[1]?.ended).toEqual({ cause: "api", reason: "Its function was deleted" })
  })

  it("lets a busy environment of what the function was finish its event", async () => {
    const gate = Promise.withResolvers<void>()
    await using invoking = await open({
      handler: async () => {
        await gate.promise
        return { body: "old" }
      },
    })
    const name = await create()
    const answered = invoking.invoke(name)
    await expect.poll(() => invoking.environments.made[0]?.events).toBe(1)
    await functions.client().updateFunctionCode({ FunctionName: name, ZipFile: await codeOf("new") })
    await functions.settling.settled()
    gate.resolve()
    expect(await textOf((await answered).body)).toBe("old")
    await invoking.environments.made[0]?.over
  })

  it("throttles a function at its own share, with AWS's reason", async () => {
    const gate = Promise.withResolvers<void>()
    await using invoking = await open({
      handler: async () => {
        await gate.promise
        return { body: "1" }
      },
    })
    const name = await create()
    const lambda = functions.client()
    await lambda.putFunctionConcurrency({ FunctionName: name, ReservedConcurrentExecutions: 2 })
    const first = [invoking.invoke(name), invoking.invoke(name)]
    await expect.poll(() => invoking.opened.concurrency.count).toBe(2)
    await expect(invoking.invoke(name)).rejects.toMatchObject({
      code: "TooManyRequestsException",
      status: 429,
      message: "Rate Exceeded.",
      members: { Reason: "ReservedFunctionConcurrentInvocationLimitExceeded" },
      headers: { "retry-after": "1" },
    })
    gate.resolve()
    for (const one of first) await (await one).settled
    await lambda.putFunctionConcurrency({ FunctionName: name, ReservedConcurrentExecutions: 0 })
    await expect(invoking.invoke(name)).rejects.toMatchObject({
      members: { Reason: "ReservedFunctionConcurrentInvocationLimitExceeded" },
    })
    await lambda.deleteFunctionConcurrency({ FunctionName: name })
    await (
      await invoking.invoke(name)
    ).settled
  })

  it("lets a caller who waits for each answer have one place", async () => {
    const settling = Promise.withResolvers<void>()
    await using invoking = await open({ settles: () => settling.promise })
    const name = await create()
    const lambda = functions.client()
    await lambda.putFunctionConcurrency({ FunctionName: name, ReservedConcurrentExecutions: 1 })
    const answered = async () => {
      const invoked = await invoking.invoke(name)
      await textOf(invoked.body)
      await invoked.end
    }
    await answered()
    const next = answered()
    await functions.db.select().from(functionVersions)
    settling.resolve()
    await next
    expect(invoking.environments.made.length).toBe(1)
    await lambda.deleteFunctionConcurrency({ FunctionName: name })
  })

  it("throttles functions without a share at what the others leave of the account", async () => {
    const gate = Promise.withResolvers<void>()
    const limits = { concurrentExecutions: 12 }
    await using invoking = await open({ handler: () => gate.promise.then(() => ({ body: "1" })) }, limits)
    const [shared, reserved] = [await create(), await create()]
    const lambda = functions.client()
    await lambda.putFunctionConcurrency({ FunctionName: reserved, ReservedConcurrentExecutions: 10 })
    const at = [invoking.invoke(shared), invoking.invoke(shared)]
    await expect.poll(() => invoking.opened.concurrency.count).toBe(2)
    await expect(invoking.invoke(shared)).rejects.toMatchObject({
      members: { Reason: "ConcurrentInvocationLimitExceeded" },
    })
    at.push(invoking.invoke(reserved))
    gate.resolve()
    for (const one of at) await (await one).settled
    await lambda.deleteFunctionConcurrency({ FunctionName: reserved })
  })

  it("throttles more requests in a second than ten times the concurrency", async () => {
    await using invoking = await open()
    const name = await create()
    await functions.client().putFunctionConcurrency({ FunctionName: name, ReservedConcurrentExecutions: 1 })
    const outcomes = new Set<unknown>()
    for (let index = 0; index < 200 && outcomes.size === 0; index += 1)
      await invoking.invoke(name).then(
        ({ settled }) => settled,
        (error: unknown) => outcomes.add(error),
      )
    expect([...outcomes]).toMatchObject([
      { status: 429, members: { Reason: "ReservedFunctionInvocationRateLimitExceeded" } },
    ])
  })

  it("throttles a function that would have more environments started than may be", async () => {
    const gate = Promise.withResolvers<void>()
    await using invoking = await open(
      { handler: () => gate.promise.then(() => ({ body: "1" })) },
      { startsPerTenSeconds: 2 },
    )
    const name = await create()
    const begun = [invoking.invoke(name), invoking.invoke(name)]
    await expect.poll(() => invoking.environments.made.length).toBe(2)
    await expect(invoking.invoke(name)).rejects.toMatchObject({
      members: { Reason: "ConcurrentInvocationLimitExceeded" },
      headers: { "retry-after": "5" },
    })
    gate.resolve()
    for (const one of begun) await (await one).settled
  })

  it("gives an event that an environment never got to another", async () => {
    let lost = 1
    await using invoking = await open({ handler: () => (lost-- > 0 ? { isLost: true } : { body: "taken" }) })
    const name = await create()
    const { body } = await invoking.invoke(name)
    expect(await textOf(body)).toBe("taken")
    expect(invoking.environments.made.map(({ ended }) => ended?.cause)).toEqual(["host", undefined])
    lost = 3
    await expect(invoking.invoke(name)).rejects.toMatchObject({ code: "ServiceException", status: 500 })
    await expect.poll(() => invoking.opened.concurrency.count).toBe(0)
  })

  it("tells how a function has failed", async () => {
    const failure = { errorType: "Runtime.ExitError", body: Buffer.from('{"errorType":"Runtime.ExitError"}') }
    await using invoking = await open({ handler: () => ({ failure }) })
    const { end, body } = await invoking.invoke(await create())
    expect(await textOf(body)).toBe("")
    expect(await end).toEqual(failure)
  })

  it("counts what each version has been used for", async () => {
    const failure = { errorType: "Function.Unknown", body: Buffer.from("{}") }
    await using invoking = await open({ handler: ({ payload }) => (payload.length > 2 ? { failure } : { body: "1" }) })
    const name = await create({ MemorySize: 1024 })
    await (
      await invoking.invoke(name)
    ).settled
    await (
      await invoking.invoke(name, undefined, { payload: Buffer.from("[1]") })
    ).settled
    await functions.client().putFunctionConcurrency({ FunctionName: name, ReservedConcurrentExecutions: 0 })
    await expect(invoking.invoke(name)).rejects.toThrow("Rate Exceeded.")
    const functionId = invoking.environments.made[0]?.functionId
    const rows = async () => {
      await invoking.usage.flush()
      return (await functions.db.select().from(functionUsage)).filter((row) => row.functionId === functionId)
    }
    await expect.poll(rows).toMatchObject([{ version: "$LATEST", invocations: 2, errors: 1, throttles: 1 }])
    const [row] = await rows()
    expect(row?.gbSeconds).toBeGreaterThan(0)
    expect(row?.durationMs).toBeGreaterThan(0)
  })

  it("writes what was counted when it is closed, and nothing that comes behind", async () => {
    const [functionId, version] = [randomUUID(), "1"]
    const usage = openUsageCounts({ db: functions.db, days: 1, log })
    usage.add(functionId, version, { invocations: 1 })
    await usage[Symbol.asyncDispose]()
    usage.add(functionId, version, { invocations: 1 })
    await usage.flush()
    const rows = await functions.db.select().from(functionUsage).where(eq(functionUsage.functionId, functionId))
    expect(rows).toMatchObject([{ invocations: 1 }])
  })

  it("ends what an earlier daemon has left of what a function was", async () => {
    const name = await create()
    await using before = await open()
    await (
      await before.invoke(name)
    ).settled
    const [{ definition } = { definition: undefined }] = before.environments.made
    if (definition === undefined) throw new Error("Nothing was made")
    const left = createMemoryEnvironments()
    const [current, old] = [left.leave(definition), left.leave({ ...definition, id: "what it was" })]
    await using after = await open({ idle: [old, current] })
    await old.over
    expect(current.isOver).toBe(false)
    await (
      await after.invoke(name)
    ).settled
    expect(after.environments.made).toEqual([])
    expect(current.events).toBe(1)
  })
})
