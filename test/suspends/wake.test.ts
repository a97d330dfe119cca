import { once } from "node:events"
import { request as send } from "node:https"
import type { IncomingMessage } from "node:http"
import { text } from "node:stream/consumers"
import { afterAll, beforeAll, expect, test } from "vitest"
import { eventually } from "../fixtures/eventually.ts"
import { openSleepers, type Sleeper, type Sleepers } from "./sleepers.ts"

let sleepers: Sleepers
beforeAll(async () => void (sleepers = await openSleepers()))
afterAll(() => sleepers?.[Symbol.asyncDispose]())

const ask = ({ name, token }: Sleeper, id: string) =>
  send(`https://${name}/once/${id}`, { ca: sleepers.ca, headers: { "x-aws-proxy-auth": token } }).on("error", () => {})
const answerOf = async (request: ReturnType<typeof ask>) => {
  const [response] = (await once(request.end(), "response")) as [IncomingMessage]
  return text(response)
}
const isIn = (vm: Sleeper, state: string) =>
  eventually(
    () =>
      expect(
        sleepers.registry
          .get(vm.id)
          ?.getSnapshot()
          .matches({ alive: state } as never),
      ).toBe(true),
    {
      timeout: 60_000,
    },
  )
const held = (vm: Sleeper, count: number) =>
  eventually(() => expect(sleepers.router.activityOf(vm.id)).toMatchObject({ open: count, held: count }))

/** Stops a verb at its beginning until it is let go. */
const gate = (at: "sleep" | "wake") => {
  const { promise, resolve } = Promise.withResolvers<void>()
  sleepers.delay.before = (verb) => (verb === at ? promise : Promise.resolve())
  return resolve
}
const started = async () => {
  const vm = await sleepers.add(null)
  await isIn(vm, "running")
  return vm
}

test("Who gives up before the sleep has ended wakes nobody; who stays is answered after it", async () => {
  for (const stays of [false, true]) {
    const vm = await started()
    const letGo = gate("sleep")
    await sleepers.microvms.suspend(vm.id, sleepers.caller)
    const leaving = ask(vm, "leaves").end()
    await held(vm, 1)
    const answer = stays ? answerOf(ask(vm, "stays")) : undefined
    if (stays) await held(vm, 2)
    leaving.destroy()
    await held(vm, stays ? 1 : 0)
    letGo()
    if (stays) expect(await answer).toBe("stays 1\n")
    else await isIn(vm, "suspended")
    await sleepers.registry.stored(vm.id)
    expect([await sleepers.came(vm.id, "SUSPENDED"), await sleepers.came(vm.id, "RUNNING")]).toEqual([1, stays ? 2 : 1])
    expect(await sleepers.guests.seenBy(vm.vmId)).toEqual(stays ? { stays: 1 } : {})
  }
})

test("A wake that every client gave up is taken back; all that wait share one", async () => {
  const vm = await started()
  await sleepers.microvms.suspend(vm.id, sleepers.caller)
  await isIn(vm, "suspended")
  const letGo = gate("wake")
  const leaving = ask(vm, "leaves").end()
  await isIn(vm, "resuming")
  await held(vm, 1)
  leaving.destroy()
  await held(vm, 0)
  letGo()
  await isIn(vm, "suspended")
  await sleepers.registry.stored(vm.id)
  expect([await sleepers.came(vm.id, "SUSPENDED"), await sleepers.came(vm.id, "RUNNING")]).toEqual([2, 1])

  const ids = ["a", "b", "c"]
  expect(await Promise.all(ids.map((id) => answerOf(ask(vm, id))))).toEqual(ids.map((id) => `${id} 1\n`))
  await sleepers.registry.stored(vm.id)
  expect([await sleepers.came(vm.id, "SUSPENDED"), await sleepers.came(vm.id, "RUNNING")]).toEqual([2, 2])
  expect(await sleepers.guests.seenBy(vm.vmId)).toEqual({ a: 1, b: 1, c: 1 })
})

test("A MicroVM without a connector that lets HTTP in is not open to any request", async () => {
  const isOpen = async (connectors: string[]) => {
    const { name } = await sleepers.add(null, connectors)
    return (await sleepers.router.find(name.split(":")[0] ?? ""))?.isOpen
  }
  expect(await isOpen(["SHELL_INGRESS", "HTTP_INGRESS"])).toBe(true)
  expect(await isOpen(["ALL_INGRESS"])).toBe(true)
  expect(await isOpen(["SHELL_INGRESS"])).toBe(false)
  expect(await isOpen(["NO_INGRESS"])).toBe(false)
})
