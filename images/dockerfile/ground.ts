/** What stages stand on that isn't another stage: nothing, the managed image, or an image of a registry. */
import type { BaseConfig } from "./base-config.ts"
import { fail } from "./error.ts"
import type { BaseImage, PlanOptions } from "./plan.ts"

/** Both are the managed image. */
const MANAGED = /^(?:torpor\/debian:13|public\.ecr\.aws\/lambda\/microvms:al2023-minimal)$/
const SCRATCH = "scratch"

const MAX_IMAGES = 50
/** What every step of a stage has of its base. */
const MAX_PLACE_CHARACTERS = 4096
const MAX_CONFIG_CHARACTERS = 1024 * 1024

/** What an empty image brings; the managed image brings no more than Docker's own defaults. */
export const BARE: BaseConfig = {
  environment: {},
  workingDirectory: "/",
  user: "",
  entrypoint: null,
  command: null,
  exposedPorts: [],
  labels: {},
  volumes: [],
  stopSignal: null,
  healthcheck: null,
  shell: null,
  onBuild: [],
}

/** The ground that a name of our own means. */
export const ownGround = (reference: string): "managed" | "scratch" | undefined =>
  MANAGED.test(reference) ? "managed" : reference === SCRATCH ? "scratch" : undefined

/** Asks for each image once, and for no more than a build may have. */
export const createImages = (resolveImage: PlanOptions["resolveImage"]) => {
  const known = new Map<string, BaseImage>()
  return async (reference: string, line: number, platform: string | null): Promise<BaseImage> => {
    const key = JSON.stringify([reference, platform])
    const found = known.get(key)
    if (found !== undefined) return found
    if (known.size === MAX_IMAGES) fail(line, `more than ${MAX_IMAGES} images`)
    const image = await resolveImage(reference, line, platform)
    checkConfig(reference, image.config, line)
    known.set(key, image)
    return image
  }
}

const checkConfig = (reference: string, config: BaseConfig, line: number) => {
  const { user, workingDirectory, shell } = config
  let hasNul = false
  const characters = JSON.stringify(config, (name, value: unknown) => {
    hasNul ||= name.includes("\0") || (typeof value === "string" && value.includes("\0"))
    return value
  }).length
  const isLarge =
    [user, workingDirectory, ...(shell ?? [])].join("").length > MAX_PLACE_CHARACTERS ||
    characters > MAX_CONFIG_CHARACTERS
  if (isLarge) fail(line, `the configuration of '${reference.slice(0, 200)}' is too large`)
  if (hasNul) fail(line, `the configuration of '${reference.slice(0, 200)}' holds a NUL character`)
}
