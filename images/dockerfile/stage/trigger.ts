/** ONBUILD: an instruction that a stage keeps for whoever stands on it. Source: https://docs.docker.com/reference/dockerfile/#onbuild */
import { DockerfileError, fail } from "../error.ts"
import { splitInstructions, type Escape, type Instruction } from "../text/instructions.ts"

const MAX_TRIGGERS = 100
/** A base's together: every stage that stands on it has them. */
const MAX_TRIGGER_CHARACTERS = 128 * 1024
const SHOWN_CHARACTERS = 100

/** What ONBUILD keeps, as text; throws {@link DockerfileError} when it can't be executed later, or is too much beside what is kept already. */
export const toTrigger = ({ rest, heredocs, line }: Instruction, kept: readonly string[], escape: Escape): string => {
  if (rest === "") fail(line, "ONBUILD requires at least one argument")
  const text = [rest, ...heredocs.map(({ body, name }) => body + name)].join("\n")
  checkTriggers([...kept, text], line)
  readTrigger(text, line, escape)
  return text
}

/** Throws {@link DockerfileError} on more triggers than one base may have. */
export const checkTriggers = (triggers: readonly string[], line: number) => {
  if (triggers.length > MAX_TRIGGERS) fail(line, `more than ${MAX_TRIGGERS} ONBUILD triggers`)
  if (triggers.reduce((sum, { length }) => sum + length, 0) > MAX_TRIGGER_CHARACTERS)
    fail(line, `ONBUILD triggers of more than ${MAX_TRIGGER_CHARACTERS} characters in all`)
}

/** A trigger as an instruction of the line that brought it. */
export const readTrigger = (text: string, line: number, escape: Escape): Instruction => {
  const [instruction, more] = split(text, line, escape)
  if (instruction === undefined || more !== undefined)
    return fail(line, "onbuild trigger should be a single expression")
  const { keyword } = instruction
  // It could go on for ever.
  if (keyword === "ONBUILD") fail(line, "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
  if (keyword === "FROM" || keyword === "MAINTAINER") fail(line, `${keyword} isn't allowed as an ONBUILD trigger`)
  return { ...instruction, line }
}

const split = (text: string, line: number, escape: Escape): readonly Instruction[] => {
  try {
    return splitInstructions(text, escape).instructions
  } catch (error) {
    // Its lines are not the Dockerfile's.
    throw error instanceof DockerfileError ? new DockerfileError(line, error.reason) : error
  }
}

/** An error of a trigger, told with the trigger; what it found wrong with another stage is told as it is. */
export const atTrigger = (error: unknown, text: string, line: number): unknown =>
  error instanceof DockerfileError && error.line === line
    ? new DockerfileError(line, `its ONBUILD trigger '${text.slice(0, SHOWN_CHARACTERS)}': ${error.reason}`)
    : error
