/** What is wrong with a Dockerfile, and where: lines count from 1. */
export class DockerfileError extends Error {
  override readonly name = "DockerfileError"
  readonly line: number

  constructor(line: number, message: string) {
    super(`Dockerfile line ${line}: ${message}`)
    this.line = line
  }
}
