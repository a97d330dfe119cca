/** Whom the end of a VM waits for: with a real database and real ports, behind which nobody answers. */
import { randomUUID } from "node:crypto"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pino } from "pino"
import { expect, onTestFinished, test } from "vitest"
import { createVmHost } from "../../machines/vm.ts"
import { createLedger } from "../../src/capacity/ledger.ts"
import { registerHost } from "../../src/db/identity.ts"
import { vms } from "../../src/db/schema.ts"
import { createLogs } from "../../src/logs/logs.ts"
import type { Slot } from "../../src/net/slot.ts"
import type { Slots } from "../../src/net/slots.ts"
import type { Vm, Vmm } from "../../src/vmm/vmm.ts"
import { openGuestPort } from "../agent/guest-port.ts"
import { openTestDatabase } from "../db/database.ts"

const MiB = 2 ** 20

test("The last words of a guest are waited for only where its application may have said any", async () => {
  await using database = await openTestDatabase()
  const { db, hostId } = database
  await registerHost(db, hostId, "here")
  const dataDirectory = await mkdtemp(join(tmpdir(), "torpor-words-"))
  onTestFinished(() => rm(dataDirectory, { recursive: true, force: true }))
  const log = pino({ level: "silent" })
  const host = createVmHost({
    db,
    hostId,
    dataDirectory,
    vmm: {} as Vmm,
    slots: { retire: () => {} } as unknown as Slots,
    ledger: createLedger(1000),
    logs: createLogs({ db, hostId, limits: { bytesPerLog: MiB, bytesPerGroup: MiB, bytesPerHost: MiB, days: 1 }, log }),
    log,
    secretOf: () => Buffer.alloc(32),
  })
  const signal = AbortSignal.timeout(60_000)
  /** How often the end of such a VM looks whether its guest runs, which it must before it can be asked. */
  const looksAt = async (hasRun: boolean): Promise<number> => {
    await using thaw = await openGuestPort()
    await using agent = await openGuestPort()
    const vmId = randomUUID()
    await db.insert(vms).values({ id: vmId, hostId, kind: "environment", memoryMiB: 128, vcpus: 1 })
    await host.logs.create(db, vmId, { account: "0", region: "r", group: "/aws/lambda/f", stream: vmId })
    let looks = 0
    const vm = {
      spec: { vmId },
      process: { id: vmId, pid: 1, startTime: 1 },
      ports: { thaw: thaw.path, agent: agent.path },
      exited: new Promise(() => {}),
      status: () => Promise.resolve(++looks > 0 ? "paused" : "running"),
      kill: () => Promise.resolve(),
    } as unknown as Vm
    await host.hold(vm, { address: "127.0.0.1" } as Slot, 1, signal, hasRun)
    await host.end(vmId)
    return looks
  }
  expect(await looksAt(true)).toBe(1)
  expect(await looksAt(false)).toBe(0)
})
