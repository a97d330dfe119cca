/** As much of DNS as a forwarder must understand: the header and the one question. */

export interface Question {
  /** Where the question ends in the message. */
  readonly end: number
  readonly type: number
}

export const TYPE_AAAA = 28
const HEADER_BYTES = 12
const MAX_NAME_BYTES = 255

/** The question of a plain query, or `undefined` for anything else. */
export const parseQuery = (message: Buffer): Question | undefined => {
  if (message.length < HEADER_BYTES + 5) return undefined
  const [flags, questions, answers] = [message.readUInt16BE(2), message.readUInt16BE(4), message.readUInt16BE(6)]
  // A response, another opcode than QUERY, or not exactly one question.
  if ((flags & 0xf800) !== 0 || questions !== 1 || answers !== 0) return undefined
  return parseQuestion(message)
}

/** The first question of any message; names in it are never compressed. */
export const parseQuestion = (message: Buffer): Question | undefined => {
  let at = HEADER_BYTES
  for (;;) {
    const length = message[at]
    if (length === undefined || length > 63) return undefined
    at += 1 + length
    if (at - HEADER_BYTES > MAX_NAME_BYTES) return undefined
    if (length === 0) break
  }
  return at + 4 > message.length ? undefined : { end: at + 4, type: message.readUInt16BE(at) }
}

/** An answer without records: `rcode` 0 is "no data", 2 a failure of ours, 5 refused. */
export const emptyAnswer = (query: Buffer, { end }: Question, rcode: number): Buffer => {
  const answer = Buffer.from(query.subarray(0, end))
  // Response, recursion available, and the client's own recursion-desired bit.
  answer.writeUInt16BE(0x8080 | (query.readUInt16BE(2) & 0x0100) | rcode, 2)
  answer.writeUInt16BE(1, 4)
  answer.fill(0, 6, HEADER_BYTES)
  return answer
}

/** Whether a message answers exactly this question under this id. */
export const answers = (message: Buffer, id: number, question: Buffer): boolean => {
  if (message.length < HEADER_BYTES || message.readUInt16BE(0) !== id || (message.readUInt16BE(2) & 0x8000) === 0)
    return false
  const parsed = parseQuestion(message)
  // Resolvers may spell the name as they like.
  return (
    parsed !== undefined &&
    message.subarray(HEADER_BYTES, parsed.end).toString("latin1").toLowerCase() ===
      question.toString("latin1").toLowerCase()
  )
}

/** Whether an answer says no more than that this name server can't or won't: another one may. */
export const isRefusal = (answer: Buffer): boolean => [2, 4, 5].includes(answer.readUInt16BE(2) & 15)
