/** HEALTHCHECK, as Docker reads it. Source: https://docs.docker.com/reference/dockerfile/#healthcheck */
import type { Healthcheck } from "../../../src/db/values.ts"
import { DockerfileError } from "../error.ts"
import { toExecForm } from "../text/exec-form.ts"
import { readFlags } from "../text/flags.ts"
import type { Instruction } from "../text/instructions.ts"

const FLAGS = {
  interval: "text",
  timeout: "text",
  "start-period": "text",
  "start-interval": "text",
  retries: "text",
} as const

const UNITS_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  "\u00b5s": 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
}

/** `null` is HEALTHCHECK NONE. Throws {@link DockerfileError} on what Docker refuses. */
export const parseHealthcheck = (
  { rest, flags, line }: Instruction,
  inShell: (text: string) => string[],
): Healthcheck | null => {
  const fail = (message: string): never => {
    throw new DockerfileError(line, message)
  }
  const given = readFlags(flags, FLAGS, line)
  const [, type = "", behind = ""] = /^(\S*)\s*([^]*)$/.exec(rest) ?? []
  if (type === "") fail("HEALTHCHECK requires at least one argument")
  if (type.toUpperCase() === "NONE") {
    if (behind !== "" || flags.length > 0) fail("HEALTHCHECK NONE takes no arguments")
    return null
  }
  if (type.toUpperCase() !== "CMD") fail(`Unknown type '${type.slice(0, 60)}' in HEALTHCHECK (try CMD)`)
  const exec = toExecForm(behind, line)
  if (behind === "" || exec?.length === 0) fail("Missing command after HEALTHCHECK CMD")

  const milliseconds = (name: string, otherwise: number): number => {
    const text = given.text(name)
    if (text === null) return otherwise
    const parts = [...text.matchAll(/(\d+(?:\.\d*)?|\.\d+)(ns|us|\u00b5s|ms|s|m|h)/g)]
    if (text !== parts.map(([part]) => part).join("") || parts.length === 0)
      fail(`invalid duration '${text.slice(0, 60)}' of --${name}: write it like 90s or 1m30s`)
    const value = parts.reduce((sum, [, number, unit = ""]) => sum + Number(number) * (UNITS_MS[unit] ?? NaN), 0)
    // Zero is Docker's word for its default.
    if (value === 0) return otherwise
    return value < 1 ? fail(`--${name} is less than 1ms`) : value
  }
  const retries = Number(given.text("retries") ?? 3)
  if (!Number.isInteger(retries) || retries < 1) fail("--retries must be a whole number from 1")
  return {
    argv: exec ?? inShell(behind),
    intervalMs: milliseconds("interval", 30_000),
    timeoutMs: milliseconds("timeout", 30_000),
    startPeriodMs: milliseconds("start-period", 0),
    startIntervalMs: milliseconds("start-interval", 5000),
    retries,
  }
}
