import type { CommandInput } from "./commands.ts"
import { UsageError } from "./invocation.ts"

/** What was given for an option that takes a number, or `otherwise` when it wasn't; throws a {@link UsageError} where that isn't one from `least` to `most`. */
export const wholeNumberOf = (
  options: CommandInput["options"],
  name: string,
  { least, most, otherwise }: { least: number; most: number; otherwise: number },
): number => {
  const text = options.get(name)?.[0]
  if (text === undefined) return otherwise
  const number = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
  if (number >= least && number <= most) return number
  throw new UsageError(`--${name} wants a number from ${least} to ${most}, and '${text.slice(0, 60)}' is none.`)
}

/** Where an application listens unless it is said. */
export const DEFAULT_PORT = 8080

/** `--port`: the one that an application listens on. */
export const portOf = (options: CommandInput["options"]): number =>
  wholeNumberOf(options, "port", { least: 1, most: 65_535, otherwise: DEFAULT_PORT })
