/** Why an archive is refused; `code` is AWS's. */
export class ArchiveError extends Error {
  override readonly name: string = "ArchiveError"
  readonly code: "ARCHIVE_INVALID" | "ARCHIVE_DOCKERFILE_NOT_FOUND"

  constructor(code: ArchiveError["code"], message: string) {
    super(message)
    this.code = code
  }
}

/** Unpacked it would be larger than whoever reads it allows. */
export class ArchiveTooLargeError extends ArchiveError {
  override readonly name = "ArchiveTooLargeError"
}
