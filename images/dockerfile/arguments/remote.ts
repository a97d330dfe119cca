/** What ADD takes from the network. Source: https://docs.docker.com/reference/dockerfile/#add */
import { fail } from "../error.ts"
import type { RemoteFile } from "../step.ts"

const MAX_URL_CHARACTERS = 4096
const MAX_NAME_BYTES = 255
/** Docker's, for a URL that names no file. */
const UNNAMED = "__unnamed__"

/** Whether a source is downloaded. */
export const isUrl = (source: string) => /^https?:\/\//i.test(source)

/** Whether a source is a git repository, as Docker recognises one: by its scheme, its user, or a path that ends in `.git`. */
export const isGit = (source: string) =>
  /^(?:git|ssh):\/\//i.test(source) ||
  /^[\w.-]+@[\w.-]+:(?!\/\/)/.test(source) ||
  /^https?:\/\/[^?#]*\.git\/?(?:[?#]|$)/i.test(source)

/** A source as it is shown, without a user and password that may be in it. */
export const shownSource = (source: string) => source.replace(/\/\/[^/?#]*:[^/?#]*@/, "//").slice(0, 200)

/** A file to download; throws DockerfileError on a URL that is none. */
export const toRemoteFile = (source: string, checksum: string | null, line: number): RemoteFile => {
  const shown = shownSource(source)
  if (source.length > MAX_URL_CHARACTERS) fail(line, `a URL of more than ${MAX_URL_CHARACTERS} characters`)
  const url = URL.canParse(source) ? new URL(source) : fail(line, `'${shown}' is no URL`)
  // It would be in the log of every build.
  if (url.username !== "" || url.password !== "")
    fail(line, "ADD of a URL with a user or password is not supported: mount a secret in a RUN and fetch it there")
  if (checksum !== null && !/^sha256:[0-9a-f]{64}$/.test(checksum))
    fail(line, `invalid checksum '${checksum.slice(0, 80)}': write sha256: and 64 hexadecimal digits in small letters`)
  url.hash = ""
  const name =
    decoded(url.pathname)
      ?.split("/")
      .findLast((part) => part !== "") ?? UNNAMED
  if (/^\.{1,2}$|\0/.test(name) || Buffer.byteLength(name) > MAX_NAME_BYTES)
    fail(line, `'${shown}' ends in no name of a file`)
  return { url: url.href, name, checksum }
}

const decoded = (path: string): string | undefined => {
  try {
    return decodeURIComponent(path)
  } catch {
    return undefined
  }
}
