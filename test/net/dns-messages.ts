/** DNS messages for tests: only what a client and a name server of theirs need. */

export const TYPES = { A: 1, TXT: 16, AAAA: 28 } as const

/** A name as DNS carries it: each label behind its length, then a zero. */
export const toName = (name: string): Buffer =>
  Buffer.concat([
    ...name.split(".").map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label, "latin1")])),
    Buffer.from([0]),
  ])

/** A plain question with recursion desired; `after` is put behind it as it is. */
export const toQuery = (id: number, name: string, type: number, after: Buffer = Buffer.alloc(0)): Buffer => {
  const header = Buffer.alloc(12)
  header.writeUInt16BE(id, 0)
  header.writeUInt16BE(0x0100, 2)
  header.writeUInt16BE(1, 4)
  const kind = Buffer.alloc(4)
  kind.writeUInt16BE(type, 0)
  kind.writeUInt16BE(1, 2)
  return Buffer.concat([header, toName(name), kind, after])
}

/** The name that a message asks for, and the type. */
export const questionOf = (message: Buffer): { name: string; type: number } => {
  const labels: string[] = []
  let at = 12
  for (let length = message[at] ?? 0; length !== 0; length = message[at] ?? 0) {
    labels.push(message.toString("latin1", at + 1, at + 1 + length))
    at += 1 + length
  }
  return { name: labels.join("."), type: message.readUInt16BE(at + 1) }
}

export interface AnswerParts {
  readonly rcode?: number
  readonly truncated?: boolean
  /** The records' data, each of the question's type. */
  readonly data?: readonly Buffer[]
}

/** The answer to a question, under its id. */
export const toAnswer = (query: Buffer, { rcode = 0, truncated = false, data = [] }: AnswerParts): Buffer => {
  const { name, type } = questionOf(query)
  const question = Buffer.from(toQuery(query.readUInt16BE(0), name, type))
  question.writeUInt16BE(0x8180 | (truncated ? 0x0200 : 0) | rcode, 2)
  question.writeUInt16BE(data.length, 6)
  const records = data.map((bytes) => {
    // A pointer to the question's name, class IN, a minute to live.
    const record = Buffer.from([
      0xc0,
      12,
      type >> 8,
      type & 255,
      0,
      1,
      0,
      0,
      0,
      60,
      bytes.length >> 8,
      bytes.length & 255,
    ])
    return Buffer.concat([record, bytes])
  })
  return Buffer.concat([question, ...records])
}
