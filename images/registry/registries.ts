/** The operator's registries, as skopeo's own files say them. Formats: containers-registries.conf(5), containers-auth.json(5), containers-certs.d(5) */
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { RegistryError } from "./error.ts"

/** By its host, maybe with a port. */
export interface RegistrySettings {
  readonly username?: string | undefined
  readonly password?: string | undefined
  readonly passwordFile?: string | undefined
  /** Of its certificate, beside the system's. */
  readonly caFile?: string | undefined
  /** Plain HTTP is taken too. */
  readonly insecure: boolean
  /** Asked first, in this order: hosts, maybe with a path; what is said of them is under their own names. */
  readonly mirrors: readonly string[]
}

export type Registries = Readonly<Record<string, RegistrySettings>>

/** Where they are in a directory that becomes skopeo's HOME. */
export const CONFIGURATION = { registries: "registries.conf", auth: "auth.json" } as const

/** Writes what is said of one registry and its mirrors: of others not even a secret is there. The caller decides who may read it. */
export const writeConfiguration = async (home: string, all: Registries, registry: string): Promise<void> => {
  const mirrors = Object.hasOwn(all, registry) ? (all[registry]?.mirrors ?? []) : []
  const asked = new Set([registry, ...mirrors.map(hostOf)])
  const registries = Object.fromEntries(Object.entries(all).filter(([host]) => asked.has(host)))
  await writeFile(join(home, CONFIGURATION.registries), toRegistriesConf(registries))
  await writeFile(join(home, CONFIGURATION.auth), JSON.stringify({ auths: await toAuths(registries) }), { mode: 0o400 })
  for (const [host, { caFile }] of Object.entries(registries)) {
    if (caFile === undefined) continue
    const to = join(home, ".config/containers/certs.d", host, "ca.crt")
    await mkdir(dirname(to), { recursive: true })
    await copyFile(caFile, to).catch((error: Error) => {
      throw new RegistryError(`The operator's caFile of ${host} cannot be read: ${error.message}`)
    })
  }
}

/** JSON's strings are TOML's too. */
const toRegistriesConf = (registries: Registries): string => {
  const isInsecure = (host: string) => registries[host]?.insecure ?? false
  const lines = ["unqualified-search-registries = []", 'short-name-mode = "disabled"']
  for (const [host, { insecure, mirrors }] of Object.entries(registries)) {
    const name = JSON.stringify(host)
    lines.push("[[registry]]", `prefix = ${name}`, `location = ${name}`, `insecure = ${insecure}`)
    for (const mirror of mirrors)
      lines.push(
        "[[registry.mirror]]",
        `location = ${JSON.stringify(mirror)}`,
        `insecure = ${isInsecure(hostOf(mirror))}`,
      )
  }
  return `${lines.join("\n")}\n`
}

/** A mirror's without its path. */
export const hostOf = (location: string): string => location.split("/")[0] ?? location

const toAuths = async (registries: Registries): Promise<Record<string, { auth: string }>> => {
  const auths: Record<string, { auth: string }> = {}
  for (const [host, { username, password, passwordFile }] of Object.entries(registries)) {
    if (username === undefined) continue
    const secret = passwordFile === undefined ? (password ?? "") : await readPassword(host, passwordFile)
    auths[host] = { auth: Buffer.from(`${username}:${secret}`).toString("base64") }
  }
  return auths
}

const readPassword = async (host: string, file: string): Promise<string> => {
  const text = await readFile(file, "utf8").catch((error: Error) => {
    throw new RegistryError(`The operator's passwordFile of ${host} cannot be read: ${error.message}`)
  })
  return text.replace(/\r?\n$/, "")
}
