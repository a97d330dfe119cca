/** An image's configuration, as its author wrote it: a stranger's JSON. Source: https://github.com/opencontainers/image-spec/blob/main/config.md */
import { z } from "zod"
import { wordsOf } from "../../src/words.ts"
import type { Healthcheck } from "../../src/db/values.ts"
import type { BaseConfig } from "../dockerfile/base-config.ts"
import { RegistryError } from "./error.ts"
import { ARCHITECTURE, OS } from "./manifest.ts"

const MAX_WORDS = 1000
const MAX_TEXT = 128 * 1024
const MAX_PORTS = 1000

/** Half of a surrogate pair, which no database keeps, is U+FFFD, as it is to Docker. */
const text = z
  .string()
  .max(MAX_TEXT)
  .overwrite((value) => value.toWellFormed())
const words = z.array(text).max(MAX_WORDS).nullish()
/** Go's way of writing a set. */
const names = z
  .record(text, z.unknown())
  .nullish()
  .refine((set) => Object.keys(set ?? {}).length <= MAX_WORDS, `must have at most ${MAX_WORDS} members`)
const nanoseconds = z.number().min(0).nullish()

const Document = z.object({
  os: text.nullish(),
  architecture: text.nullish(),
  config: z
    .object({
      Env: words,
      WorkingDir: text.nullish(),
      User: text.nullish(),
      Entrypoint: words,
      Cmd: words,
      ExposedPorts: names,
      Labels: names.pipe(z.record(text, text).nullish()),
      Volumes: names,
      StopSignal: text.nullish(),
      Healthcheck: z
        .object({
          Test: words,
          Interval: nanoseconds,
          Timeout: nanoseconds,
          StartPeriod: nanoseconds,
          StartInterval: nanoseconds,
          Retries: z.number().int().min(0).nullish(),
        })
        .nullish(),
      Shell: words,
      OnBuild: words,
    })
    .nullish(),
  rootfs: z.object({ diff_ids: z.array(text).max(MAX_WORDS).nullish() }).nullish(),
})

export interface ImageConfig {
  readonly config: BaseConfig
  /** How many layers the configuration knows of. */
  readonly layers: number
}

/** Reads it; throws a {@link RegistryError} that names what is wrong, and when it is for another platform than ours. */
export const parseImageConfig = (json: string): ImageConfig => {
  const { data, error } = Document.safeParse(parseJson(json))
  if (data === undefined) {
    const [issue] = error.issues
    const where = issue?.path.length ? wordsOf(issue.path.join("."), 200) : "it"
    throw new RegistryError(`Its configuration cannot be used: ${where}: ${wordsOf(issue?.message ?? "", 200)}.`)
  }
  const { os, architecture, config, rootfs } = data
  if ((os ?? OS) !== OS || (architecture ?? ARCHITECTURE) !== ARCHITECTURE)
    throw new RegistryError(
      `It is for ${wordsOf(`${os}/${architecture}`, 100)}, and VMs here are ${OS}/${ARCHITECTURE}.`,
    )
  return {
    layers: rootfs?.diff_ids?.length ?? 0,
    config: {
      environment: toEnvironment(config?.Env ?? []),
      workingDirectory:
        config?.WorkingDir?.startsWith("/") === true ? config.WorkingDir : `/${config?.WorkingDir ?? ""}`,
      user: config?.User ?? "",
      entrypoint: filled(config?.Entrypoint),
      command: filled(config?.Cmd),
      exposedPorts: toPorts(Object.keys(config?.ExposedPorts ?? {})),
      labels: withoutPrototype(Object.entries(config?.Labels ?? {})),
      volumes: Object.keys(config?.Volumes ?? {}),
      stopSignal: config?.StopSignal || null,
      healthcheck: toHealthcheck(config?.Healthcheck),
      shell: filled(config?.Shell),
      onBuild: config?.OnBuild ?? [],
    },
  }
}

const parseJson = (json: string): unknown => {
  try {
    return JSON.parse(json)
  } catch {
    throw new RegistryError("Its configuration is no JSON.")
  }
}

const filled = (list: readonly string[] | null | undefined) => (list === undefined || list?.length === 0 ? null : list)

const withoutPrototype = (pairs: readonly (readonly [string, string])[]): Record<string, string> => {
  const table = Object.create(null) as Record<string, string>
  for (const [name, value] of pairs) table[name] = value
  return table
}

const toEnvironment = (variables: readonly string[]) =>
  withoutPrototype(
    variables.map((variable) => {
      const at = variable.indexOf("=")
      if (at === 0 || variable.includes("\0"))
        throw new RegistryError(`Its configuration has a variable without a name, or with a NUL.`)
      return at === -1 ? [variable, ""] : [variable.slice(0, at), variable.slice(at + 1)]
    }),
  )

/** `80`, `80/tcp`, `8000-8010/udp`; what is no port is nothing to us, as it is nothing to Docker until it is published. */
const toPorts = (written: readonly string[]): number[] => {
  const ports = new Set<number>()
  for (const word of written) {
    const [, first, last, protocol = "tcp"] = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/([a-z]+))?$/i.exec(word) ?? []
    const [from, to] = [Number(first), Number(last ?? first)]
    if (protocol.toLowerCase() !== "tcp" || !(from >= 1 && to <= 65_535)) continue
    if (to - from >= MAX_PORTS || ports.size + to - from >= MAX_PORTS)
      throw new RegistryError(`Its configuration exposes more than ${MAX_PORTS} ports.`)
    for (let port = from; port <= to; port++) ports.add(port)
  }
  return [...ports]
}

type WrittenHealthcheck = NonNullable<NonNullable<z.infer<typeof Document>["config"]>["Healthcheck"]>

/** Zero is Docker's word for its default, and no test for none of its own. */
const toHealthcheck = (written: WrittenHealthcheck | null | undefined): Healthcheck | null => {
  const [kind, ...rest] = written?.Test ?? []
  const argv = kind === "CMD" ? rest : kind === "CMD-SHELL" ? ["/bin/sh", "-c", rest.join(" ")] : []
  if (written === null || written === undefined || argv.length === 0) return null
  const milliseconds = (value: number | null | undefined, otherwise: number) => (value ? value / 1e6 : otherwise)
  return {
    argv,
    intervalMs: milliseconds(written.Interval, 30_000),
    timeoutMs: milliseconds(written.Timeout, 30_000),
    startPeriodMs: milliseconds(written.StartPeriod, 0),
    startIntervalMs: milliseconds(written.StartInterval, 5000),
    retries: written.Retries || 3,
  }
}
