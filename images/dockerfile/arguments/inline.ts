/** What heredocs are for their instruction: a RUN's command or program, a COPY's files. */
import { DockerfileError } from "../error.ts"
import { contentOf, openingOf, toRawWords, type Heredoc } from "../text/heredoc.ts"
import type { Instruction } from "../text/instructions.ts"
import type { InlineFile } from "../step.ts"
import type { Variables } from "../text/variable.ts"
import type { Lexer } from "../text/words.ts"

/** The heredoc of a RUN that says nothing else. */
const onlyOf = ({ rest, heredocs }: Instruction): Heredoc | undefined =>
  toRawWords(rest).length === 1 ? heredocs[0] : undefined

/** A heredoc alone is what is executed, by what its first line names or by the shell; others are the shell's to read. */
export const scriptOf = (instruction: Instruction): InlineFile | null => {
  const heredoc = onlyOf(instruction)
  const content = heredoc === undefined ? "" : contentOf(heredoc)
  return heredoc !== undefined && content.startsWith("#!")
    ? { name: fileNameOf(heredoc, instruction.line), content }
    : null
}

/** What RUN's shell executes: the heredoc that is there alone, or the command with all of them behind it. */
export const commandOf = (instruction: Instruction): string => {
  const heredoc = onlyOf(instruction)
  if (heredoc !== undefined) return contentOf(heredoc)
  return [instruction.rest, ...instruction.heredocs.map(({ body, name }) => body + name)].join("\n")
}

/** Of a COPY's words those that open a heredoc are files, and the others words. */
export const inlineOf = ({ rest, line, heredocs }: Instruction, variables: Variables, lexer: Lexer) => {
  const rendered = lexer.expandTexts(heredocs.filter(({ expands }) => expands).map(contentOf), variables, line).values()
  const files = heredocs.map((heredoc): InlineFile => ({
    name: fileNameOf(heredoc, line),
    content: heredoc.expands ? (rendered.next().value ?? "") : contentOf(heredoc),
  }))
  const others = toRawWords(rest).filter((word) => openingOf(word) === undefined)
  return { files, words: others.flatMap((word) => lexer.words(word, variables, line)) }
}

const MAX_NAME_CHARACTERS = 100

const fileNameOf = ({ name }: Heredoc, line: number): string => {
  if (/^\.{1,2}$|[/\0]/.test(name) || name.length > MAX_NAME_CHARACTERS)
    throw new DockerfileError(line, `a heredoc's name becomes a file's: '${name.slice(0, 60)}' cannot be one`)
  return name
}
