import { existsSync } from "node:fs"
import { OperatorError } from "../src/errors.ts"
import { CommandError, runCommand } from "../src/command.ts"

/** Where guests' packages come from: one Debian suite for every host, whatever the host itself runs. */
export interface Debian {
  /** `http://…` of a Debian mirror. */
  readonly mirror: string
  readonly suite: string
}

const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

/**
 * Makes a tree of packages and what they depend on in `directory`. `extract` unpacks only, so that nothing of a package runs on this
 * host; `minbase` is a whole system, configured in a chroot.
 * Throws an {@link OperatorError} that says why not.
 */
export const installPackages = async (
  { mirror, suite }: Debian,
  variant: "extract" | "minbase",
  packages: readonly string[],
  directory: string,
  options: readonly string[],
  signal: AbortSignal,
): Promise<void> => {
  const keyring = existsSync(KEYRING) ? [`--keyring=${KEYRING}`] : []
  try {
    await runCommand(
      "mmdebstrap",
      // Not --quiet: that leaves out why apt could not fetch something.
      [
        `--variant=${variant}`,
        "--architectures=amd64",
        "--components=main",
        `--include=${packages.join(",")}`,
        ...keyring,
        ...options,
        suite,
        directory,
        mirror,
      ],
      { signal },
    )
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    const words = error.output.split("\n").filter((line) => line.startsWith("E:"))
    if (words.some((line) => /resolve|connect|fetch|unreachable|timed out/i.test(line)))
      throw new OperatorError(
        `The package mirror ${mirror} cannot be reached: check the network, or name another as "mirror" in TORPOR_CONFIG.`,
      )
    throw new OperatorError(
      `The guests' packages (${suite} of ${mirror}) could not be installed: ${words.join(" ") || error.message}`,
    )
  }
}
