import {
  GetMicrovmCommand,
  GetMicrovmImageCommand,
  LambdaMicrovmsClient,
  ListMicrovmsCommand,
  RunMicrovmCommand,
  SuspendMicrovmCommand,
  TerminateMicrovmCommand,
} from "@aws-sdk/client-lambda-microvms"
import { once } from "node:events"
import { connect } from "node:net"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { eventually } from "../fixtures/eventually.ts"
import { createEndpoint } from "../../src/cli/endpoint.ts"
import { parseRange, slotAddresses } from "../../src/net/address.ts"
import { jsonOf } from "../fixtures/answers.ts"
import { inspectorApp } from "../fixtures/app.ts"
import {
  arnOf,
  REGION,
  PATIENT,
  startTestDaemon,
  whatIsLeft,
  type TestDaemon,
  type TestVm,
} from "../fixtures/daemon.ts"
import { namespacesOf, slotsOf, tracesOf } from "./traces.ts"

/** A daemon with a VM that runs and one that sleeps, each asked once. */
interface Neighbour {
  readonly daemon: TestDaemon
  readonly image: string
  readonly awake: TestVm
  readonly asleep: TestVm
}

const opened = new AsyncDisposableStack()
let one: Neighbour
let other: Neighbour
beforeAll(async () => {
  const open = async (image: string): Promise<Neighbour> => {
    const daemon = opened.use(await startTestDaemon({}, PATIENT))
    await daemon.build(image, inspectorApp)
    const [awake, asleep] = await Promise.all([daemon.run({ image }), daemon.run({ image })])
    for (const vm of [awake, asleep]) opened.defer(() => vm.close())
    expect(await counts({ daemon, awake, asleep })).toEqual([1, 1])
    await suspend(daemon, asleep)
    return { daemon, image, awake, asleep }
  }
  one = await open("image-of-one")
  other = await open("image-of-other")
}, 600_000)
afterAll(() => opened.disposeAsync())

const count = async (daemon: TestDaemon, vm: TestVm) => (await jsonOf<{ count: number }>(daemon, vm, "/count")).count
const counts = ({ daemon, awake, asleep }: Omit<Neighbour, "image">) =>
  Promise.all([awake, asleep].map((vm) => count(daemon, vm)))
const suspend = async (daemon: TestDaemon, { id }: TestVm) => {
  await daemon.client.send(new SuspendMicrovmCommand({ microvmIdentifier: id }))
  await daemon.untilState(id, "SUSPENDED")
}
const nameOf = (refused: Promise<unknown>) =>
  refused.then(
    () => "accepted",
    (error: Error) => error.name,
  )

/** Lets one act while the other's VM is asked on and on: nothing of the other's changes, and none of its answers is missing. */
const untouchedBy = async (act: () => Promise<unknown>, { daemon, awake }: Neighbour = other) => {
  // Beside those of the VM that runs and the one that sleeps, its pool of two is filled again in the background.
  await eventually(() => {
    expect(slotsOf(daemon.hostId)).toHaveLength(2 + 2)
    expect(namespacesOf(daemon.hostId)).toHaveLength(2 + 2)
  })
  const before = await tracesOf(daemon)
  const first = await count(daemon, awake)
  let acts = true
  const acted = act().finally(() => (acts = false))
  let asked = 0
  try {
    while (acts) expect(await count(daemon, awake)).toBe(first + ++asked)
  } finally {
    await acted
  }
  expect(asked).toBeGreaterThan(0)
  expect(await tracesOf(daemon)).toEqual(before)
}

describe("Two daemons on one machine", { timeout: 300_000 }, () => {
  test("know nothing of each other's images, MicroVMs, tokens and keys", async () => {
    const { client } = other.daemon
    const listed = await client.send(new ListMicrovmsCommand({}))
    expect(listed.items?.map(({ microvmId }) => microvmId).toSorted()).toEqual(
      [other.awake.id, other.asleep.id].toSorted(),
    )
    for (const command of [
      new GetMicrovmImageCommand({ imageIdentifier: arnOf(one.image) }),
      new RunMicrovmCommand({ imageIdentifier: arnOf(one.image) }),
      new GetMicrovmCommand({ microvmIdentifier: one.awake.id }),
      new TerminateMicrovmCommand({ microvmIdentifier: one.awake.id }),
    ])
      expect(await nameOf(client.send(command as GetMicrovmCommand))).toBe("ResourceNotFoundException")

    const stranger = new LambdaMicrovmsClient({
      endpoint: `http://127.0.0.1:${other.daemon.apiPort}`,
      region: REGION,
      credentials: await one.daemon.client.config.credentials(),
    })
    expect(await nameOf(stranger.send(new ListMicrovmsCommand({})))).toBe("UnrecognizedClientException")
    stranger.destroy()

    const [host = ""] = one.awake.name.split(":")
    for (const name of [other.awake.name, `${host}:${other.daemon.edgePort}`]) {
      const endpoint = createEndpoint(name, one.awake.token, other.daemon.ca)
      expect(await endpoint.get("/count")).toMatchObject({ status: 403, body: "Request missing authentication" })
      endpoint.close()
    }
    const trusting = createEndpoint(other.awake.name, other.awake.token, one.daemon.ca)
    await expect(trusting.get("/count")).rejects.toThrow("certificate")
    trusting.close()
  })

  test("have guests that don't reach each other", async () => {
    const range = parseRange("100.127.0.0/16")
    const addresses = slotsOf(other.daemon.hostId).map((index) => slotAddresses(range, index).inside)
    // Only the one of the VM that runs answers; nobody is behind those that are ready.
    const sockets = addresses.map((host) => connect({ host, port: 8080 }))
    const reached = await Promise.any(sockets.map((socket) => once(socket, "connect").then(() => socket.remoteAddress)))
    for (const socket of sockets) socket.destroy()
    expect((await one.awake.get(`/reach?host=${reached}&port=8080`)).body).not.toContain("connected")
  })

  test("aren't touched by each other's builds, launches, sleeps, wakes and ends", async () => {
    const { daemon, image } = one
    await untouchedBy(async () => {
      await daemon.build("another", { ...inspectorApp, Dockerfile: `${inspectorApp.Dockerfile}RUN true\n` })
      const vm = await daemon.run({ image })
      expect(await count(daemon, vm)).toBe(1)
      await suspend(daemon, vm)
      expect(await count(daemon, vm)).toBe(2)
      vm.close()
      await daemon.client.send(new TerminateMicrovmCommand({ microvmIdentifier: vm.id }))
      await daemon.untilState(vm.id, "TERMINATED")
    })
  })

  test("aren't touched when one is killed and starts again", async () => {
    await untouchedBy(() => one.daemon.restart("SIGKILL"))
    expect(await counts(one)).toEqual([2, 2])
    await suspend(one.daemon, one.asleep)
  })

  test("aren't touched when one goes down, and it leaves nothing but its data", async () => {
    await untouchedBy(() => one.daemon.down())
    expect(whatIsLeft(one.daemon.hostId)).toEqual([])
    expect([slotsOf(one.daemon.hostId), namespacesOf(one.daemon.hostId)]).toEqual([[], []])
    // The other can still do all that it could.
    expect(await count(other.daemon, other.asleep)).toBe(2)
    await suspend(other.daemon, other.asleep)

    await untouchedBy(() => one.daemon.restart("SIGKILL"))
    expect(await counts(one)).toEqual([3, 3])
  })
})
