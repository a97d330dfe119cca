/**
 * Under systemd a daemon is a service, and `systemctl stop` ends all that is in the service's control group. What has to outlive the
 * daemon leaves that group: the private Postgres into a scope of its own, VMs into groups of their own (src/vmm/process/cgroup.ts; systemd-run
 * takes a tenth of a second, too long for a launch).
 */
import { randomBytes } from "node:crypto"
import { existsSync } from "node:fs"

/** Whether systemd is this machine's init: as sd_booted(3) looks. */
export const underSystemd = () => existsSync("/run/systemd/system")

/**
 * The words that start a command in a scope of its own, in the same process; without systemd the command's own words.
 * The name has something of its own each time: a scope is there until the last of its processes has ended.
 */
export const inScope = (
  name: string,
  stopSignal: "SIGTERM" | "SIGINT",
  command: readonly string[],
  systemd = underSystemd(),
): string[] =>
  systemd
    ? [
        "systemd-run",
        "--scope",
        "--quiet",
        "--collect",
        `--unit=${name}-${randomBytes(4).toString("hex")}`,
        `--property=KillSignal=${stopSignal}`,
        "--",
        ...command,
      ]
    : [...command]
