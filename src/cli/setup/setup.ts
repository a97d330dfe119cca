/** `torpor setup`: what a bare machine lacks, said and installed; then the base artefacts. Quickstart and the tests begin with it. */
import { existsSync } from "node:fs"
import { statfs } from "node:fs/promises"
import { dirname } from "node:path"
import { ensureArtifacts } from "../../../images/artifacts.ts"
import type { Config } from "../../config.ts"
import { messageOf, OperatorError } from "../../errors.ts"
import { lock } from "../../file-lock.ts"
import { keepProgram } from "../../program/keep.ts"
import type { CommandInput } from "../commands.ts"
import { carryOut, planInstallation, toShell } from "./installation.ts"
import { distribution, missingPackages, neededPackages, packagesForTests, type NeededPackage } from "./packages.ts"

/** What artefacts, images and the first VMs take. */
export const NEEDED_DISK_BYTES = 6 * 1024 ** 3

/** Installs what is missing; resolves with 0 when all of it is there. Run again it only looks. */
export const setup = async ({ config, options, print, signal }: CommandInput): Promise<number> => {
  await runSetup(config, print, signal, options.has("tests") ? packagesForTests(await distribution()) : neededPackages)
  print("Set-up is complete.")
  return 0
}

/** As {@link setup}, without the last line. Throws an {@link OperatorError} with what to do. */
export const runSetup = async (
  config: Config,
  print: (line: string) => void,
  signal: AbortSignal,
  packages: readonly NeededPackage[] = neededPackages,
): Promise<void> => {
  await refuseUnfit(config)
  const missing = await missingPackages(packages, signal)
  if (missing.length > 0) {
    await using _ = await lock("/run/torpor-setup.lock", signal, () =>
      print("Waiting for another set-up on this machine"),
    )
    const stillMissing = await missingPackages(packages, signal)
    if (stillMissing.length > 0) await install(stillMissing, config, print, signal)
  }
  await ensureArtifacts({ cacheDirectory: config.cacheDirectory, debian: config.debian }, print, signal)
  await keepProgram(signal).catch((error: unknown) => {
    signal.throwIfAborted()
    print(`Torpor was not put together in one piece, and starts more slowly: ${messageOf(error)}`)
  })
}

/** What no package can mend. */
const refuseUnfit = async ({ cacheDirectory, dataDirectory }: Config) => {
  if (!existsSync("/dev/net/tun"))
    throw new OperatorError(
      "There is no /dev/net/tun: load the module (`modprobe tun`), or give this container the device.",
    )
  for (const directory of [cacheDirectory, dataDirectory]) {
    const { bavail, bsize } = await statfs(existing(directory))
    if (bavail * bsize < NEEDED_DISK_BYTES)
      throw new OperatorError(
        `${directory} has ${((bavail * bsize) / 1024 ** 3).toFixed(1)} GiB free and ${NEEDED_DISK_BYTES / 1024 ** 3} are needed: free some, or name other directories by TORPOR_CACHE_DIR and TORPOR_DATA_DIR.`,
      )
  }
}

const existing = (path: string): string => (existsSync(path) ? path : existing(dirname(path)))

const install = async (
  missing: readonly NeededPackage[],
  { install: mayInstall }: Config,
  print: (line: string) => void,
  signal: AbortSignal,
) => {
  const installation = await planInstallation(missing, await distribution(), signal)
  if (!mayInstall)
    throw new OperatorError(
      `These packages are missing: ${missing.map(({ name }) => name).join(", ")}. TORPOR_NO_INSTALL is set, so install them yourself:\n  ${toShell(installation)}`,
    )
  for (const { name, why } of missing) print(`${name.padEnd(24)} ${why}`)
  await carryOut(installation, print, signal)
  const left = await missingPackages(missing, signal)
  if (left.length > 0)
    throw new OperatorError(
      `apt-get succeeded, and these are still missing or too old: ${left.map(({ name }) => name).join(", ")}.`,
    )
}
