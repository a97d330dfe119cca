/** What was wrong with a path, by the kernel's name for it and in words that don't show how the agent got there. */
export class FileError extends Error {
  override readonly name = "FileError"
  readonly code: string
  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

const WORDS: Readonly<Record<string, string>> = {
  ENOENT: "There is no such file or directory",
  ENOTDIR: "What is on the way is not a directory",
  EISDIR: "It is a directory",
  ENOTEMPTY: "The directory is not empty",
  ENOSPC: "There is no space left on the disk",
  ENAMETOOLONG: "The name is too long",
  EAGAIN: "The application holds the file",
  EACCES: "It cannot be opened",
  EPERM: "That is not permitted",
  EROFS: "It cannot be written to",
}

/** An error of a system call as a {@link FileError}; its own words would name the agent's descriptors. */
export const toFileError = (error: unknown): unknown => {
  const { code } = error as NodeJS.ErrnoException
  return error instanceof FileError || code === undefined
    ? error
    : new FileError(code, WORDS[code] ?? `It failed: ${code}`)
}
