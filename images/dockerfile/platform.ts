/** The one platform that is built for: the host's own, since guests run on its processor. */
import { fail } from "./error.ts"
import type { Variables } from "./text/variable.ts"

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" }
const ALIASES: Readonly<Record<string, string>> = { x86_64: "amd64", "x86-64": "amd64", aarch64: "arm64" }

const OS = "linux"
const ARCHITECTURE = ARCHITECTURES[process.arch] ?? process.arch
export const PLATFORM = `${OS}/${ARCHITECTURE}`

/** What an ARG makes known that gives no value. */
export const platformArguments = (target: string): Variables => ({
  BUILDPLATFORM: PLATFORM,
  BUILDOS: OS,
  BUILDARCH: ARCHITECTURE,
  BUILDVARIANT: "",
  TARGETPLATFORM: PLATFORM,
  TARGETOS: OS,
  TARGETARCH: ARCHITECTURE,
  TARGETVARIANT: "",
  TARGETSTAGE: target,
})

/** FROM --platform's in its usual form; throws DockerfileError on one that isn't this host's. */
export const parsePlatform = (text: string, line: number): string => {
  const parts = text.toLowerCase().split("/")
  const [os, written, variant = ""] = parts.length === 1 && parts[0] !== OS ? [OS, ...parts] : parts
  const architecture = written === undefined ? ARCHITECTURE : (ALIASES[written] ?? written)
  const known = architecture === ARCHITECTURE && ["", architecture === "arm64" ? "v8" : "v1"].includes(variant)
  return os === OS && known && parts.length <= 3
    ? PLATFORM
    : fail(line, `platform '${text.slice(0, 60)}' is not supported: VMs here are ${PLATFORM}`)
}
