import { execFile } from "node:child_process"

/** Runs one of the system disk's tools to its end; its words are the error when it fails. */
export const run = (file: string, args: readonly string[]): Promise<string> =>
  new Promise((resolve, reject) =>
    execFile(file, args, { maxBuffer: 1024 * 1024 }, (error, stdout, stderr) =>
      error === null ? resolve(stdout) : reject(new Error(stderr.trim().slice(-1000) || error.message)),
    ),
  )
