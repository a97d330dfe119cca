/** Programs that ask as fast as they can, on a core of their own. */
import { execFile } from "node:child_process"
import { readFile } from "node:fs/promises"
import { promisify } from "node:util"
import type { Entrance } from "./contestant.ts"

export interface Rate {
  /** Requests or MiB each second. */
  readonly perSecond: number
  /** Processor time of the contestant for each, in µs. */
  readonly microseconds: number
}

export interface Driven extends Entrance {
  readonly pid: number
}

const headersOf = ({ headers }: Entrance) => Object.entries(headers).map(([name, value]) => `${name}: ${value}`)

/** HTTP/1.1: 64 connections, one request after another on each. */
export const wrk = (to: Driven, core: number, seconds: number): Promise<Rate> =>
  measured(to, async () => {
    const headers = [`Host: ${to.host}`, ...headersOf(to)].flatMap((line) => ["-H", line])
    const url = `https://127.0.0.1:${to.port}/`
    const stdout = await run(core, "wrk", ["-t1", "-c64", `-d${seconds}s`, ...headers, url])
    if (/Non-2xx|Socket errors/.test(stdout)) throw new Error(`Not every request was answered:\n${stdout}`)
    return numberIn(stdout, /(\d+) requests in/)
  })

/** HTTP/2: 8 connections with 8 streams each. */
export const h2load = (to: Driven, core: number, seconds: number): Promise<Rate> =>
  measured(to, async () => {
    const headers = [`:authority: ${to.host}`, ...headersOf(to)].flatMap((line) => ["-H", line])
    const url = `https://127.0.0.1:${to.port}/`
    const stdout = await run(core, "h2load", ["-c8", "-m8", `-D${seconds}`, ...headers, url])
    const [answered, failed] = [numberIn(stdout, /(\d+) 2xx/), numberIn(stdout, /(\d+) failed/)]
    if (answered === 0 || failed > 0) throw new Error(`Not every request was answered:\n${stdout}`)
    return answered
  })

/** A large body down, checked for its length. */
export const download = (to: Driven, core: number, caFile: string, mebibytes: number): Promise<Rate> =>
  measured(to, async () => {
    const got = await curl(to, "/large", core, caFile, ["-o", "/dev/null", "-w", "%{http_code} %{size_download}"])
    if (got !== `200 ${mebibytes * 1024 ** 2}`) throw new Error(`The large body came down as ${got}`)
    return mebibytes
  })

/** A large body up; the application says how much arrived. */
export const upload = (to: Driven, core: number, caFile: string, file: string, mebibytes: number): Promise<Rate> =>
  measured(to, async () => {
    const got = await curl(to, "/sink", core, caFile, ["-T", file, "-H", "Expect:"])
    if (got !== String(mebibytes * 1024 ** 2)) throw new Error(`The large body went up as ${got}`)
    return mebibytes
  })

const curl = (to: Entrance, path: string, core: number, caFile: string, options: readonly string[]) => {
  const headers = headersOf(to).flatMap((line) => ["-H", line])
  const resolve = ["--resolve", `${to.host}:${to.port}:127.0.0.1`]
  const url = `https://${to.host}:${to.port}${path}`
  return run(core, "curl", ["-sS", "--http1.1", "--cacert", caFile, ...resolve, ...headers, ...options, url])
}

const run = async (core: number, program: string, options: readonly string[]): Promise<string> =>
  (await promisify(execFile)("taskset", ["-c", String(core), program, ...options])).stdout

const measured = async ({ pid }: Driven, work: () => Promise<number>): Promise<Rate> => {
  const [before, startedAt] = [await usedMicroseconds(pid), performance.now()]
  const count = await work()
  const seconds = (performance.now() - startedAt) / 1000
  return { perSecond: count / seconds, microseconds: ((await usedMicroseconds(pid)) - before) / count }
}

/** What a process has run so far, in hundredths of a second that the kernel counts: proc(5). */
const usedMicroseconds = async (pid: number): Promise<number> => {
  const fields = (await readFile(`/proc/${pid}/stat`, "utf8")).replace(/^.*\) /s, "").split(" ")
  return (Number(fields[11]) + Number(fields[12])) * 10_000
}

const numberIn = (text: string, pattern: RegExp) => Number(pattern.exec(text)?.[1] ?? Number.NaN)
