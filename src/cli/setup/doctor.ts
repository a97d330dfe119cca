import { NotInstalledError } from "../../command.ts"
import type { Config } from "../../config.ts"
import { messageOf } from "../../errors.ts"
import { checks, SET_UP, type Verdict } from "./checks.ts"
import type { CommandInput } from "../commands.ts"

interface Finding extends Verdict {
  readonly name: string
}

/** `torpor doctor [--json]`: everything that the daemon will need, and for each failure what to do; 1 when something fails. */
export const doctor = async ({ config, options, print, signal }: CommandInput): Promise<number> => {
  const findings = await examine(config, signal)
  if (options.has("json")) print(JSON.stringify(findings))
  else for (const line of toLines(findings)) print(line)
  return findings.some(({ state }) => state === "fail") ? 1 : 0
}

const examine = async (config: Config, signal: AbortSignal): Promise<Finding[]> => {
  const findings: Finding[] = []
  for (const [name, { run, remedy }] of Object.entries(checks)) {
    const verdict = await run(config, signal).catch((error: unknown): Verdict => {
      signal.throwIfAborted()
      return error instanceof NotInstalledError
        ? { state: "fail", detail: `${error.program} is not installed`, remedy: SET_UP }
        : { state: "fail", detail: messageOf(error), remedy }
    })
    findings.push({ name, ...verdict })
  }
  return findings
}

const marks = { ok: "ok  ", warn: "WARN", fail: "FAIL" } as const

/** The findings as people read them. */
const toLines = (findings: readonly Finding[]): string[] =>
  findings.flatMap(({ name, state, detail, remedy }) => [
    `${marks[state]} ${name.padEnd(16)} ${detail}`,
    ...(remedy === undefined ? [] : [`${" ".repeat(22)}→ ${remedy}`]),
  ])
