/** What is wrong with a Dockerfile, and where: lines count from 1. */
export class DockerfileError extends Error {
  override readonly name = "DockerfileError"
  readonly line: number
  /** The message without the line. */
  readonly reason: string

  constructor(line: number, reason: string) {
    super(`Dockerfile line ${line}: ${reason}`)
    this.line = line
    this.reason = reason
  }
}

/** Throws it. */
export const fail = (line: number, reason: string): never => {
  throw new DockerfileError(line, reason)
}
