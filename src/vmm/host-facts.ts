import { readFile } from "node:fs/promises"
import { runCommand } from "../command.ts"
import { OperatorError } from "../errors.ts"
import { QEMU } from "./command-line.ts"

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
