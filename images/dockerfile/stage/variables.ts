/** ARG, ENV and LABEL: names and their values. */
import { fail } from "../error.ts"
import type { Instruction } from "../text/instructions.ts"
import type { Variables } from "../text/variable.ts"
import type { Lexer } from "../text/words.ts"
import { splitAtEquals, toPairs } from "../arguments/values.ts"
import type { Handlers } from "./stage-build.ts"

/** ARG's names, each with its value if it has one. */
export const toArguments = (
  { rest, line }: Instruction,
  variables: Variables,
  lexer: Lexer,
): [name: string, value: string | undefined][] => {
  const words = lexer.words(rest, variables, line)
  if (words.length === 0) fail(line, "ARG requires at least one argument")
  return words.map((word) => {
    const [name, value] = splitAtEquals(word)
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) fail(line, `'${name.slice(0, 60)}' is not a valid name`)
    return [name, value]
  })
}

export const VARIABLES: Handlers = {
  ARG(instruction, { state, lexer, argumentOf }) {
    for (const [name, value] of toArguments(instruction, state.variables(), lexer)) {
      const known = argumentOf(name, value)
      if (known !== undefined) state.setArgument(name, known, instruction.line)
    }
  },
  ENV(instruction, { state, lexer }) {
    for (const [name, value] of toPairs(instruction, state.variables(), lexer))
      state.setVariable(name, value, instruction.line)
  },
  LABEL(instruction, { state, lexer }) {
    for (const [name, value] of toPairs(instruction, state.variables(), lexer))
      state.setLabel(name, value, instruction.line)
  },
}
