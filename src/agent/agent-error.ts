import { wordsOf } from "../words.ts"
import { FileErrorCode } from "./protocol.ts"

/** What the agent refused, in its words: the guest's, so for people and not for decisions. */
export class AgentError extends Error {
  override readonly name = "AgentError"
  /** Of a file that was refused, where its guest gave a reason that we know. */
  readonly code: FileErrorCode | undefined
  constructor(message: string, code?: FileErrorCode) {
    super(message)
    this.code = code
  }
}

const MAX_CHARACTERS = 2000

/** What a guest has said, which may be anything. */
export const refusalFrom = (said: unknown): AgentError => {
  const { message, code } = (said ?? {}) as { message?: unknown; code?: unknown }
  return new AgentError(
    typeof message === "string" ? wordsOf(message, MAX_CHARACTERS) : "The guest refused without a reason",
    FileErrorCode.safeParse(code).data,
  )
}

/** `undefined` where it is no JSON. */
export const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
