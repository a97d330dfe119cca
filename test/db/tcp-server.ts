import { spawn } from "node:child_process"
import { once } from "node:events"
import { chown, readFile, rm } from "node:fs/promises"
import { join } from "node:path"
import { expect } from "vitest"
import { runCommand } from "../../src/command.ts"
import {
  accountIds,
  asAccount,
  findBinaries,
  makeCluster,
  makeDirectory,
  mountPoint,
  POSTGRES_USER,
  runDirectory,
} from "../../src/db/cluster.ts"
import { eventually } from "../fixtures/eventually.ts"
import { freePort } from "../fixtures/free-port.ts"
import { makeTestCluster } from "./cluster.ts"

export interface TcpServer extends AsyncDisposable {
  readonly port: number
  readonly user: string
  /** Its certificate, of its own making and for `localhost`, in PEM. */
  readonly certificateFile: string
  /** Resolves when it takes connections. */
  start(): Promise<void>
  /** As a crash of one of its processes would; resolves when it is gone. */
  kill(): Promise<void>
}

/** A real Postgres that listens on 127.0.0.1 alone, with TLS for who asks for it; disposing it leaves nothing. */
export const startTcpServer = async (): Promise<TcpServer> => {
  const { signal } = new AbortController()
  await using opened = new AsyncDisposableStack()
  const { dataDirectory, hostId } = opened.use(await makeTestCluster())
  const account = await accountIds(signal)
  for (const path of [runDirectory(hostId), mountPoint(hostId)]) await makeDirectory(path, account)
  const data = join(dataDirectory, "postgres")
  await makeCluster(dataDirectory, data, account, hostId, signal)
  const [key, certificateFile] = [join(data, "server.key"), join(data, "server.crt")]
  const names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
  const files = ["-keyout", key, "-out", certificateFile]
  const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
  await runCommand("openssl", ["req", "-x509", ...kind, ...names, ...files], { signal })
  for (const file of [key, certificateFile]) await chown(file, account.uid, account.gid)
  const port = await freePort()
  const binaries = await findBinaries(undefined)
  const settings = { listen_addresses: "127.0.0.1", port, unix_socket_directories: "", ssl: "on", fsync: "off" }
  const [file = "", ...args] = asAccount(data, hostId, [
    join(binaries, "postgres"),
    "-D",
    mountPoint(hostId),
    ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
  ])
  let kill = async () => {}
  opened.defer(() => kill())
  const start = async () => {
    const lockFile = join(data, "postmaster.pid")
    await rm(lockFile, { force: true })
    const child = spawn(file, args, { stdio: "ignore" })
    const ended = once(child, "exit")
    kill = async () => {
      kill = async () => {}
      child.kill("SIGQUIT")
      await ended
    }
    await eventually(async () => expect(await readFile(lockFile, "utf8")).toMatch(/^ready\s*$/m), { interval: 20 })
  }
  await start()
  const held = opened.move()
  return {
    port,
    user: POSTGRES_USER,
    certificateFile,
    start,
    kill: () => kill(),
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}
