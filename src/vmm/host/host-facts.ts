import { readFile, stat } from "node:fs/promises"
import { join } from "node:path"
import { findProgram, runCommand } from "../../command.ts"
import { OperatorError } from "../../errors.ts"
import { QEMU } from "../process/command-line.ts"
import { keptFact } from "./kept-fact.ts"

/** The version of QEMU as it says itself, with the distribution's build: a base is loaded by exactly this one. */
export const qemuVersion = async (signal: AbortSignal, executable = QEMU): Promise<string> => {
  const output = await runCommand(executable, ["--version"], { signal })
  return output.split("\n")[0]?.replace(/^QEMU emulator version /, "") ?? ""
}

/** The rate of this host's time stamp counter; guests are told it, since measuring it hangs under load. */
export const tscKHz = async (signal: AbortSignal): Promise<number> => {
  const kernelLog = await runCommand("dmesg", [], { signal }).catch(() => "")
  const detected = /tsc: (?:Refined TSC clocksource calibration|Detected).*?([\d.]+) MHz/.exec(kernelLog)?.[1]
  const said = detected ?? /^cpu MHz\s*: ([\d.]+)$/m.exec(await readFile("/proc/cpuinfo", "utf8"))?.[1]
  if (said === undefined)
    throw new OperatorError(
      "The rate of this machine's time stamp counter is in neither its kernel log nor /proc/cpuinfo.",
    )
  return Math.round(Number(said) * 1000)
}

/** Of this boot of the host. */
export const bootId = async (): Promise<string> => (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim()

/** A file as it is now: one that was replaced or written to has another, whatever it was given for a time. */
export const fileKey = async (path: string): Promise<string> => {
  const { dev, ino, size, mtimeMs, ctimeMs } = await stat(path)
  return [path, dev, ino, size, mtimeMs, ctimeMs].join()
}

/** As {@link qemuVersion} of the installed one, which is asked once. */
export const keptQemuVersion = async (directory: string, signal: AbortSignal): Promise<string> => {
  const about = await fileKey(await findProgram(QEMU))
  return keptFact(join(directory, "qemu-version.json"), about, () => qemuVersion(signal))
}

/** As {@link tscKHz}, which is asked once per boot: later the kernel's log may have no room for it any more, and the rate be another. */
export const keptTscKHz = async (directory: string, signal: AbortSignal): Promise<number> =>
  Number(await keptFact(join(directory, "tsc.json"), await bootId(), async () => String(await tscKHz(signal))))
