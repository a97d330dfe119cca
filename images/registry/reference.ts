/** An image's name as Docker reads it. Source: https://github.com/distribution/reference */
import { wordsOf } from "../../src/words.ts"
import { RegistryError } from "./error.ts"

export interface Reference {
  /** `docker.io`, or a host as it was written, maybe with a port. */
  readonly registry: string
  /** Below the registry, `library/node`. */
  readonly repository: string
  /** `undefined` when only a digest is given. */
  readonly tag: string | undefined
  /** `sha256:…`; where there are both, it decides and not the tag. */
  readonly digest: string | undefined
}

const DOCKER_HUB = "docker.io"
const MAX_CHARACTERS = 1024
const MAX_NAME_CHARACTERS = 255
const SHOWN_CHARACTERS = 200

const COMPONENT = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$/
const HOST =
  /^(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*)(?::\d{1,5})?$/
const TAG = /^\w[\w.-]{0,127}$/
const DIGEST = /^sha256:[0-9a-f]{64}$/

/** Reads one; throws a {@link RegistryError} that says which part is wrong. */
export const parseReference = (text: string): Reference => {
  const fail = (why: string): never => {
    throw new RegistryError(`'${wordsOf(text, SHOWN_CHARACTERS)}' is no image reference: ${why}`)
  }
  if (text === "") fail("it is empty")
  if (text.length > MAX_CHARACTERS) fail(`it has more than ${MAX_CHARACTERS} characters`)
  if (/^[a-z]+:\/\//i.test(text)) fail("it is written without 'https://'")
  const [named = "", digest, ...more] = text.split("@")
  if (more.length > 0) fail("it has more than one '@'")
  if (digest !== undefined && !DIGEST.test(digest)) fail("behind '@' comes 'sha256:' and 64 digits from 0-9a-f")

  const slash = named.indexOf("/")
  const first = slash === -1 ? "" : named.slice(0, slash)
  // As Docker tells a host from a user: by a dot, a port, or capitals, which no repository has; and localhost is one.
  const isHost = /[.:A-Z]/.test(first) || first === "localhost"
  const registry = isHost ? first : DOCKER_HUB
  if (!HOST.test(registry)) fail(`'${first}' is no host`)
  if (Number(registry.split(":")[1] ?? 1) > 65_535) fail(`'${first}' has no port from 1 to 65535`)
  const path = isHost ? named.slice(slash + 1) : named
  const colon = path.indexOf(":")
  const name = colon === -1 ? path : path.slice(0, colon)
  const tag = colon === -1 ? undefined : path.slice(colon + 1)
  if (tag !== undefined && !TAG.test(tag)) fail("its tag is 1 to 128 letters, digits, '_', '.' and '-'")
  if (name === "") fail("its name is missing")
  if (name !== name.toLowerCase()) fail("its name must be lower case")
  if (!name.split("/").every((component) => COMPONENT.test(component)))
    fail(
      "its name is made of lower-case letters and digits, with '.', '_' or '-' between them and '/' between its parts",
    )
  if (registry.length + 1 + name.length > MAX_NAME_CHARACTERS)
    fail(`its name has more than ${MAX_NAME_CHARACTERS} characters`)
  // What looks like an id is refused by Docker too.
  if (!isHost && /^[0-9a-f]{64}$/.test(named)) fail("64 digits from 0-9a-f are an id and no name")
  const isHub = ["docker.io", "index.docker.io", "registry-1.docker.io"].includes(registry)
  return {
    registry: isHub ? DOCKER_HUB : registry.toLowerCase(),
    repository: isHub && !name.includes("/") ? `library/${name}` : name,
    tag: tag ?? (digest === undefined ? "latest" : undefined),
    digest,
  }
}

/** The reference of one manifest, whatever its tag says by now. */
export const pinned = ({ registry, repository }: Reference, digest: string): string =>
  `${registry}/${repository}@${digest}`

/** As skopeo takes it, which refuses a tag beside a digest. */
export const toText = (reference: Reference): string =>
  reference.digest === undefined
    ? `${reference.registry}/${reference.repository}:${reference.tag}`
    : pinned(reference, reference.digest)
