/** What versions' snapshots come to, for Prometheus. Functions are no labels: there may be any number of them. */
import { Counter, Gauge, type Registry } from "prom-client"

export interface SnapshotMetrics {
  /** A snapshot was begun, and this became of it; one that the host had no memory for is none. */
  making(outcome: "made" | "failed"): void
  /** An environment was to begin with a snapshot. */
  restoring(outcome: "restored" | "failed"): void
  /** A definition's environments are initialised from here on. */
  givenUp(): void
}

/** Registers them; `kept` tells of those that are there, `standing` how many VMs stand ready of them. */
export const createSnapshotMetrics = (
  registry: Registry,
  kept: () => readonly { readonly bytes: number }[],
  standing: () => number,
): SnapshotMetrics => {
  const registers = [registry]
  const gauge = (name: string, help: string, value: () => number) => {
    const registered: Gauge = new Gauge({ name, help, registers, collect: () => registered.set(value()) })
  }
  gauge("torpor_function_snapshots", "Snapshots of versions of functions.", () => kept().length)
  gauge("torpor_function_snapshot_bytes", "What snapshots of versions of functions take on the disk.", () =>
    kept().reduce((sum, { bytes }) => sum + bytes, 0),
  )
  gauge("torpor_function_restored_vms", "VMs that stand where a function's snapshot begins.", standing)
  const makings = new Counter({
    name: "torpor_function_snapshots_made_total",
    help: "Snapshots of versions of functions that were begun, by what became of them.",
    labelNames: ["outcome"],
    registers,
  })
  const restores = new Counter({
    name: "torpor_function_snapshot_restores_total",
    help: "Environments that were to begin with a snapshot, by whether they did.",
    labelNames: ["outcome"],
    registers,
  })
  const ends = new Counter({
    name: "torpor_function_snapshots_given_up_total",
    help: "Versions of functions that have no snapshot any more: it cannot be made, cannot be restored, or is slower than their Init.",
    registers,
  })
  return {
    making: (outcome) => makings.inc({ outcome }),
    restoring: (outcome) => restores.inc({ outcome }),
    givenUp: () => ends.inc(),
  }
}
