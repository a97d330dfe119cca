import { closeSync, constants, openSync } from "node:fs"
import { rm } from "node:fs/promises"
import { Socket } from "node:net"
import { run } from "./run.ts"

/** A process's way to say something: Node's own are sockets, and no socket can be opened as /dev/stderr, which people's programs do. */
export interface Pipe {
  /** To be given to the process. */
  readonly writer: number
  /** Ends behind the last writer. */
  readonly reader: Socket
  /** Lets go of the writer here: the process has it. */
  letGo(): void
}

/** Opens as many pipes as there are unused paths, which are free again when it resolves. */
export const openPipes = async (...paths: readonly string[]): Promise<Pipe[]> => {
  await run("busybox", ["mkfifo", ...paths])
  const pipes = paths.map((path): Pipe => {
    // Without waiting for a writer; the writer then finds somebody who reads.
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const writer = openSync(path, constants.O_WRONLY)
    return { writer, reader: new Socket({ fd, readable: true, writable: false }), letGo: () => closeSync(writer) }
  })
  for (const path of paths) await rm(path)
  return pipes
}
