/** What a runtime or an extension is told when it asks for what it may not have: AWS's status and names, for its client reads them. */
export class Refusal extends Error {
  override readonly name = "Refusal"
  readonly status: number
  readonly errorType: string
  constructor(status: number, errorType: string, message: string) {
    super(message)
    this.status = status
    this.errorType = errorType
  }
}
