/** A host with a {@link Vmm}, slots and files, and nothing else: no daemon and no database. */
import { randomUUID } from "node:crypto"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { mkdir, mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { ensureArtifacts, type Artifacts } from "../../images/artifacts.ts"
import { parseConfig } from "../../src/config.ts"
import { createLog } from "../../src/log.ts"
import { openSlots } from "../../src/net/slots.ts"
import { prepareOverlays } from "../../src/vmm/overlay.ts"
import type { VmSpec, Vmm } from "../../src/vmm/vmm.ts"
import { whatIsLeft } from "../fixtures/daemon.ts"
import { endWhenGone } from "../fixtures/when-gone.ts"

/** What an implementation is made from. */
export interface VmmPlace {
  readonly hostId: string
  readonly directory: string
  readonly artifacts: Artifacts
}
export type CreateVmm = (place: VmmPlace, signal: AbortSignal) => Promise<Vmm>

export const runDirectoryOf = (hostId: string) => join("/run/torpor/vms", hostId.slice(0, 8))

export interface VmmHost extends VmmPlace, AsyncDisposable {
  readonly vmm: Vmm
  readonly createOverlay: (path: string) => Promise<void>
  /** A VM that has a slot, a directory and an empty overlay of its own, and no process. */
  newVm(vmId?: string): Promise<VmSpec & { overlay: string }>
  /** Another slot for a VM's next life; the one it had is given back. */
  moved<Spec extends VmSpec>(spec: Spec): Promise<Spec>
}

const NEVER = new AbortController().signal

/** Opens one under a host id of its own. Disposing it ends its VMs, and fails when anything of them is left. */
export const openVmmHost = async (createVmm: CreateVmm): Promise<VmmHost> => {
  const {
    cacheDirectory,
    debian,
    egress,
    slots: settings,
  } = parseConfig({
    TORPOR_CACHE_DIR: process.env["TORPOR_CACHE_DIR"],
  })
  const hostId = randomUUID()
  const directory = await mkdtemp(join(tmpdir(), "torpor-vmm-"))
  const isOver = endWhenGone(hostId, directory)
  const artifacts = await ensureArtifacts({ cacheDirectory, debian }, () => {}, NEVER)
  const place = { hostId, directory, artifacts }
  const vmm = await createVmm(place, NEVER)
  const policy = { ...egress, allow: [] }
  const slots = await openSlots(
    { hostId, ...settings, ready: 1, policy, nameServers: [], log: createLog("error") },
    NEVER,
  )
  const createOverlay = await prepareOverlays(directory, NEVER)
  const specs = new Map<string, VmSpec>()
  return {
    ...place,
    vmm,
    createOverlay,
    async newVm(vmId = randomUUID()) {
      const own = join(directory, "vms", vmId)
      await mkdir(join(own, "disk"), { recursive: true, mode: 0o700 })
      const overlay = join(own, "disk", "0.qcow2")
      await createOverlay(overlay)
      const spec = { vmId, slot: await slots.take(NEVER), directory: own, memoryMiB: 512, vcpus: 1 }
      specs.set(vmId, spec)
      return { ...spec, overlay }
    },
    async moved(spec) {
      const next = { ...spec, slot: await slots.take(NEVER) }
      await slots.release(spec.slot)
      specs.set(spec.vmId, next)
      return next
    },
    async [Symbol.asyncDispose]() {
      for (const process of await vmm.find()) await vmm.destroy(process)
      for (const { slot } of specs.values()) await slots.release(slot)
      await slots.close()
      await vmm.close()
      await rm(directory, { recursive: true, force: true })
      isOver()
      const left = whatIsLeft(hostId)
      if (left.length > 0) throw new Error(`The VMM left behind: ${left.join(", ")}`)
    },
  }
}

/** Everything on this host that carries a VM's id. */
export const leftOf = (vmId: string, { hostId }: VmmPlace): string[] => [
  ...["", "memory", "cpu", "pids"]
    .map((controller) => join("/sys/fs/cgroup", controller, `torpor-${hostId.slice(0, 8)}`, vmId))
    .concat(join(runDirectoryOf(hostId), vmId))
    .filter((path) => existsSync(path)),
  ...readdirSync("/proc")
    .filter((pid) => /^\d+$/.test(pid) && commandLineOf(pid).includes(vmId))
    .map((pid) => `process ${pid}`),
]
const commandLineOf = (pid: string) => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8")
  } catch {
    return ""
  }
}
