import type { Qmp } from "./qmp.ts"

/** Starts one of QEMU's block jobs and resolves when it has come to its end; throws its words when it failed. */
export const runJob = async (
  qmp: Qmp,
  command: string,
  options: Readonly<Record<string, unknown>>,
  signal: AbortSignal,
): Promise<void> => {
  signal.throwIfAborted()
  const id = "job"
  const ended = Promise.withResolvers<void>()
  const onEvent = (name: string, data: Record<string, unknown>) => {
    if (data["device"] !== id) return
    if (name === "BLOCK_JOB_COMPLETED" && data["error"] === undefined) ended.resolve()
    else if (name === "BLOCK_JOB_COMPLETED" || name === "BLOCK_JOB_CANCELLED")
      ended.reject(new Error(`QEMU's ${command} failed: ${JSON.stringify(data["error"] ?? "it was cancelled")}`))
  }
  const onClose = () => ended.reject(new Error(`QEMU ended during its ${command}`))
  const onAbort = () => ended.reject(signal.reason as Error)
  qmp.on("event", onEvent)
  qmp.once("close", onClose)
  signal.addEventListener("abort", onAbort, { once: true })
  try {
    // Whoever ends the VM ends the job.
    await Promise.all([qmp.execute(command, { ...options, "job-id": id }), ended.promise])
  } finally {
    qmp.off("event", onEvent)
    qmp.off("close", onClose)
    signal.removeEventListener("abort", onAbort)
  }
}
