import { randomUUID } from "node:crypto"
import { pino } from "pino"
import { describe, expect, it, onTestFinished, vi } from "vitest"
import { HostTooSmall } from "../../../machines/environments/memory-classes.ts"
import { openPool, type Lease, type PoolOptions } from "../../../machines/functions/invoking/pool/pool.ts"
import type { Definition } from "../../../machines/functions/definition.ts"
import { createMemoryEnvironments, type MemoryOptions } from "./memory-environments.ts"

const definitionOf = (name: string, memoryMiB = 128, revision = "1"): Definition => ({
  id: `${name} ${revision}`,
  scope: { account: "000000000000", region: "eu-central-1" },
  functionId: name,
  versionId: randomUUID(),
  name,
  version: "$LATEST",
  settings: { memoryMiB, timeoutSeconds: 3 } as Definition["settings"],
  environment: {},
  code: "",
  layers: [],
})

const open = (memory: MemoryOptions = {}, options: Partial<PoolOptions> = {}) => {
  const environments = createMemoryEnvironments(memory)
  const pool = openPool({
    environments,
    startsAtOnce: 8,
    firstStartsAtOnce: 8,
    waiting: { count: 1000, bytes: 2 ** 20, waitMs: 60_000 },
    admit: () => {},
    onRoom: environments.onRoom,
    log: pino({ level: "silent" }),
    ...options,
  })
  onTestFinished(() => pool[Symbol.asyncDispose]())
  const { signal } = new AbortController()
  return { environments, pool, take: (definition: Definition, by = signal) => pool.take(definition, 0, by) }
}

/** Lets everything that is ready happen. */
const turn = () => new Promise((resolve) => setImmediate(resolve))

describe("An event", () => {
  it("is given an idle environment of its definition, the one used last", async () => {
    const { pool, take, environments } = open()
    const hello = definitionOf("hello")
    const [one, two] = [await take(hello), await take(hello)]
    expect(one.environment).not.toBe(two.environment)
    one.release()
    two.release()
    expect((await take(hello)).environment).toBe(two.environment)
    expect(environments.made).toHaveLength(2)
    expect(pool.use).toEqual({ idle: 1, busy: 1, starting: 0, waiting: 0 })
  })

  it("takes what is free before its own environment has started, which is idle then", async () => {
    const gates: (() => void)[] = []
    const { pool, take } = open({ init: () => new Promise<void>((resolve) => void gates.push(resolve)) })
    const hello = definitionOf("hello")
    const first = take(hello)
    gates.shift()?.()
    const one = await first
    const second = take(hello)
    await turn()
    expect(pool.use).toEqual({ idle: 0, busy: 1, starting: 1, waiting: 1 })
    one.release()
    expect((await second).environment).toBe(one.environment)
    gates.shift()?.()
    await turn()
    expect(pool.use).toEqual({ idle: 1, busy: 1, starting: 0, waiting: 0 })
  })

  it("waits for the environment that has just answered, and not for another that is started", async () => {
    // What it waits for at most is a quarter of a second, which is over when this test says so.
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] })
    onTestFinished(() => void vi.useRealTimers())
    const { pool, take, environments } = open()
    const hello = definitionOf("hello")
    const one = await take(hello)
    one.answered()
    const second = take(hello)
    await turn()
    expect(pool.use).toEqual({ idle: 0, busy: 1, starting: 0, waiting: 1 })
    one.release()
    expect((await second).environment).toBe(one.environment)
    expect(environments.made).toHaveLength(1)
  })

  it("has one started when there is more to be done after an answer than it can wait for", async () => {
    const { take, environments } = open()
    const hello = definitionOf("hello")
    const one = await take(hello)
    one.answered()
    expect((await take(hello)).environment).not.toBe(one.environment)
    expect(environments.made).toHaveLength(2)
  })

  it("that nobody waits for any more gives up its place, and what was begun goes on", async () => {
    let open1 = () => {}
    const { pool, take } = open({ init: () => new Promise<void>((resolve) => (open1 = resolve)) })
    const gone = new AbortController()
    const waiting = take(definitionOf("hello"), gone.signal)
    gone.abort(new Error("gone"))
    await expect(waiting).rejects.toThrow("gone")
    open1()
    await turn()
    expect(pool.use).toEqual({ idle: 1, busy: 0, starting: 0, waiting: 0 })
  })

  it("is told when its environment cannot be started, after another try", async () => {
    let starts = 0
    const { take } = open({
      init: () => {
        starts += 1
        return Promise.reject(new Error("no kernel"))
      },
    })
    await expect(take(definitionOf("hello"))).rejects.toMatchObject({ code: "ServiceException", status: 500 })
    expect(starts).toBe(2)
  })

  it("is refused when too many wait, or too much of them", async () => {
    const never = () => new Promise<void>(() => {})
    const crowded = open({ init: never }, { waiting: { count: 1, bytes: 10, waitMs: 60_000 } })
    void crowded.take(definitionOf("hello")).catch(() => {})
    await expect(crowded.take(definitionOf("hello"))).rejects.toMatchObject({ headers: { "retry-after": "1" } })
    const heavy = open({ init: never }, { waiting: { count: 5, bytes: 10, waitMs: 60_000 } })
    await expect(heavy.pool.take(definitionOf("a"), 11, new AbortController().signal)).rejects.toMatchObject({
      code: "ServiceException",
    })
  })

  it("has waited long enough at some time", async () => {
    const { take } = open({ capacityMiB: 64 }, { waiting: { count: 1, bytes: 10, waitMs: 5 } })
    await expect(take(definitionOf("hello"))).rejects.toMatchObject({
      message: "This host has had no room for another execution environment in time.",
    })
  })
})

describe("On a host that is full", () => {
  it("the memory of whoever has been idle longest goes to disk", async () => {
    const { take, environments } = open({ capacityMiB: 256 })
    const [old, young] = [await take(definitionOf("old")), await take(definitionOf("young"))]
    old.release()
    young.release()
    const taken = await take(definitionOf("new"))
    expect(taken.environment.functionId).toBe("new")
    expect(environments.made.map(({ isDeflated }) => isDeflated)).toEqual([true, false, false])
    taken.release()
    const back = await take(definitionOf("young"))
    expect(back.environment).toBe(young.environment)
  })

  it("a hundred events of as many functions all have their turn", async () => {
    const { take, environments } = open({ capacityMiB: 3 * 128 })
    let most = 0
    const served = await Promise.all(
      Array.from({ length: 100 }, async (_, index) => {
        const lease = await take(definitionOf(`f${index}`))
        most = Math.max(most, environments.live().filter(({ isDeflated }) => !isDeflated).length)
        await turn()
        lease.release()
        return lease.environment.functionId
      }),
    )
    expect(new Set(served).size).toBe(100)
    expect(most).toBeLessThanOrEqual(3)
  })

  it("a function with many events doesn't keep another's first one waiting", async () => {
    const { take } = open({ capacityMiB: 128 })
    const order: string[] = []
    const run = async (name: string) => {
      const lease = await take(definitionOf(name))
      order.push(name)
      await turn()
      lease.release()
    }
    await Promise.all([
      ...Array.from({ length: 5 }, () => run("busy")),
      run("other"),
      ...Array.from({ length: 5 }, () => run("busy")),
    ])
    expect(order.indexOf("other")).toBe(5)
  })

  it("one that is too large for it keeps nobody smaller waiting", async () => {
    const { take } = open({ capacityMiB: 512 })
    const gone = new AbortController()
    const large = take(definitionOf("large", 1024), gone.signal)
    await turn()
    expect((await take(definitionOf("small"))).environment.functionId).toBe("small")
    gone.abort(new Error("gone"))
    await expect(large).rejects.toThrow("gone")
  })

  it("an event that this host will never have room for is refused at once", async () => {
    const { take } = open({ init: ({ settings }) => Promise.reject(new HostTooSmall(settings.memoryMiB)) })
    await expect(take(definitionOf("large", 4096))).rejects.toMatchObject({
      code: "ServiceException",
      message: "This host has too little memory for an execution environment of 4096 MB.",
    })
  })

  it("room that others give back is used", async () => {
    let room = () => {}
    const memory: MemoryOptions = { capacityMiB: 0 }
    const { take } = open(memory, {
      onRoom: (listener) => {
        room = listener
        return () => {}
      },
    })
    const waiting = take(definitionOf("hello"))
    await turn()
    memory.capacityMiB = 128
    room()
    expect((await waiting).environment.functionId).toBe("hello")
  })
})

describe("Environments", () => {
  it("are started a few at once, and no two events meet in one", async () => {
    let [at, most] = [0, 0]
    const { take } = open(
      {
        init: async () => {
          most = Math.max(most, ++at)
          await turn()
          at -= 1
        },
      },
      { startsAtOnce: 4 },
    )
    const leases = await Promise.all(Array.from({ length: 50 }, () => take(definitionOf("hello"))))
    expect(most).toBe(4)
    expect(new Set(leases.map(({ environment }) => environment)).size).toBe(50)
  })

  it("are as many at once as the function has already, and a few when it has none", async () => {
    let at = 0
    const most: number[] = []
    const { take } = open(
      {
        init: async () => {
          most.push(++at)
          await turn()
          at -= 1
        },
      },
      { firstStartsAtOnce: 2 },
    )
    const hello = definitionOf("hello")
    await Promise.all(Array.from({ length: 2 }, () => take(hello)))
    await Promise.all(Array.from({ length: 2 }, () => take(hello)))
    expect(Math.max(...most)).toBe(2)
    await Promise.all(Array.from({ length: 20 }, () => take(hello)))
    expect(Math.max(...most)).toBe(8)
  })

  it("of a definition that is not wanted any more end: idle, busy and those on their way", async () => {
    let release = () => {}
    const memory: MemoryOptions = {}
    const { pool, take, environments } = open(memory)
    const old = definitionOf("hello")
    const [idle, busy] = [await take(old), await take(old)]
    idle.release()
    memory.init = () => new Promise<void>((resolve) => (release = resolve))
    const gone = new AbortController()
    // The idle one is taken by this one, and the next has one started.
    const other: Lease = await take(old)
    const left = take(old, gone.signal)
    gone.abort(new Error("gone"))
    await expect(left).rejects.toThrow("gone")
    other.release()
    expect(pool.definitionsOf("hello")).toEqual(new Set([old.id]))
    pool.retire(old.id, "api", "Its function has changed")
    expect(environments.live()).toHaveLength(1)
    busy.release()
    release()
    await turn()
    expect(environments.live()).toEqual([])
    expect(environments.made.map(({ ended }) => ended?.cause)).toEqual(["api", "api", "api"])
  })

  it("that were left by an earlier daemon are used", async () => {
    const memory: MemoryOptions = {}
    const earlier = createMemoryEnvironments()
    const hello = definitionOf("hello")
    const environment = earlier.leave(hello)
    const { take } = open({ ...memory, idle: [environment] })
    expect((await take(hello)).environment).toBe(environment)
  })

  it("that are prepared are used first, and are not ended for want of room", async () => {
    const { pool, take, environments } = open({ capacityMiB: 256 })
    const hello = definitionOf("hello")
    const kept = await pool.prepare(hello, new AbortController().signal)
    const spilled = [await take(hello), await take(hello)]
    expect(spilled[0]?.environment).toBe(kept)
    for (const lease of spilled) lease.release()
    const other = await take(definitionOf("other"))
    expect(other.environment.functionId).toBe("other")
    expect(environments.live().map(({ initialization }) => initialization)).toEqual([
      "provisioned-concurrency",
      "on-demand",
      "on-demand",
    ])
    expect(environments.made.map(({ isDeflated }) => isDeflated)).toEqual([false, true, false])
  })

  it("that end by themselves are used no more", async () => {
    const { take } = open()
    const hello = definitionOf("hello")
    const lease = await take(hello)
    lease.release()
    lease.environment.end("idle", "It was idle")
    await turn()
    expect((await take(hello)).environment).not.toBe(lease.environment)
  })

  it("are waited for no more when the pool closes", async () => {
    const { pool, take } = open({ capacityMiB: 64 })
    const waiting = take(definitionOf("hello"))
    const refused = expect(waiting).rejects.toMatchObject({ code: "ServiceException" })
    await pool[Symbol.asyncDispose]()
    await refused
  })
})
