import { existsSync } from "node:fs"
import { mkdir, readFile, rmdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { underSystemd } from "../../systemd.ts"
import { namesIn, removeUnused } from "./unused-directory.ts"

/** What bounds a VMM process on this machine: cgroup v2, v1, or nothing (then only its rlimits do). */
export interface Cgroups {
  readonly kind: "v2" | "v1" | "none"
  /** Makes the VM's group and answers the files that a process writes itself to. */
  create(vmId: string, limits: { memoryMiB: number; processes: number }): Promise<string[]>
  /** Whether the VM has a processor only while no other wants it; nothing changes where nothing bounds a VM's. */
  giveWay(vmId: string, does: boolean): Promise<void>
  /** Removes the VM's group; its processes must be gone. Does nothing when there is none. */
  remove(vmId: string): Promise<void>
  /** The ids that have a group. */
  list(): Promise<string[]>
  /** Removes the host id's own group when no VM is in it. */
  close(): Promise<void>
}

/** Lower than the daemon's 100 (v2) or 1024 (v1): a busy guest never starves whoever has to answer for it. */
const WEIGHT = { v2: "50", v1: "512" }
/** The least that there is. */
const BACKGROUND_WEIGHT = { v2: "1", v1: "2" }

/** Looks at what this machine has; every group carries the host id's first eight digits. */
export const detectCgroups = async (hostId: string, systemd = underSystemd()): Promise<Cgroups> => {
  const name = `torpor-${hostId.slice(0, 8)}`
  const controllers = await readFile("/sys/fs/cgroup/cgroup.controllers", "utf8").catch(() => "")
  if (["memory", "pids", "cpu"].every((controller) => controllers.split(/\s+/).includes(controller))) return v2(name)
  const limited = (["memory", "cpu", "pids"] as const).filter((controller) => isRoot(controller))
  // Without limits, but a VM has to leave the daemon's group in those too: it is by these that systemd ends a service.
  const tracked = systemd ? ["systemd", "unified", ""].filter((hierarchy) => isRoot(hierarchy)) : []
  return separate(limited.length > 0 ? "v1" : "none", name, limited, tracked)
}

const isRoot = (hierarchy: string) => existsSync(join("/sys/fs/cgroup", hierarchy, "cgroup.procs"))

const v2 = async (name: string): Promise<Cgroups> => {
  const parent = join("/sys/fs/cgroup", name)
  return {
    kind: "v2",
    async create(vmId, { memoryMiB, processes }) {
      const group = join(parent, vmId)
      if (!existsSync(parent)) {
        await writeFile("/sys/fs/cgroup/cgroup.subtree_control", "+memory +pids +cpu")
        await mkdir(parent, { recursive: true })
        await writeFile(join(parent, "cgroup.subtree_control"), "+memory +pids +cpu")
      }
      await mkdir(group, { recursive: true })
      await Promise.all([
        writeFile(join(group, "memory.max"), String(memoryMiB * 1024 ** 2)),
        writeFile(join(group, "pids.max"), String(processes)),
        writeFile(join(group, "cpu.weight"), WEIGHT.v2),
      ])
      return [join(group, "cgroup.procs")]
    },
    giveWay: (vmId, does) => writeFile(join(parent, vmId, "cpu.weight"), does ? BACKGROUND_WEIGHT.v2 : WEIGHT.v2),
    remove: (vmId) => removeGroup(join(parent, vmId)),
    list: () => namesIn(parent),
    close: () => removeUnused(parent),
  }
}

/** A group in each of several hierarchies; in some of them with a limit. */
const separate = (
  kind: "v1" | "none",
  name: string,
  limited: readonly ("memory" | "cpu" | "pids")[],
  tracked: readonly string[],
): Cgroups => {
  const hierarchies = [...limited, ...tracked]
  const groupOf = (hierarchy: string, vmId: string) => join("/sys/fs/cgroup", hierarchy, name, vmId)
  return {
    kind,
    async create(vmId, { memoryMiB, processes }) {
      const limits = {
        memory: ["memory.limit_in_bytes", String(memoryMiB * 1024 ** 2)],
        cpu: ["cpu.shares", WEIGHT.v1],
        pids: ["pids.max", String(processes)],
      } as const
      await Promise.all(hierarchies.map((hierarchy) => mkdir(groupOf(hierarchy, vmId), { recursive: true })))
      await Promise.all(
        limited.map((controller) => {
          const [file, value] = limits[controller]
          return writeFile(join(groupOf(controller, vmId), file), value)
        }),
      )
      return hierarchies.map((hierarchy) => join(groupOf(hierarchy, vmId), "cgroup.procs"))
    },
    async giveWay(vmId, does) {
      if (limited.includes("cpu"))
        await writeFile(join(groupOf("cpu", vmId), "cpu.shares"), does ? BACKGROUND_WEIGHT.v1 : WEIGHT.v1)
    },
    remove: async (vmId) => {
      await Promise.all(hierarchies.map((hierarchy) => removeGroup(groupOf(hierarchy, vmId))))
    },
    list: async () => (await Promise.all(hierarchies.map((hierarchy) => namesIn(groupOf(hierarchy, ""))))).flat(),
    close: async () => {
      await Promise.all(hierarchies.map((hierarchy) => removeUnused(groupOf(hierarchy, ""))))
    },
  }
}

/** A process that has just ended may be counted for another moment. */
const removeGroup = async (path: string) => {
  for (let attempt = 0; ; attempt++) {
    try {
      await rmdir(path)
      return
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === "ENOENT") return
      if (code !== "EBUSY" || attempt === 100) throw error
      await sleep(10)
    }
  }
}
