import { randomUUID } from "node:crypto"
import {
  MANAGED_IMAGES,
  type Image,
  type ImageBuild,
  type Images,
  type ImageStorage,
  type ImageVersion,
  type Microvm,
  type Microvms,
  type Page,
  type PageRequest,
  type Scope,
} from "../../machines/resources.ts"
import { conflict, notFound, validationError } from "../../src/errors.ts"
import type { LogArchive } from "../../src/logs/archive.ts"
import type { LogEntry } from "../../src/logs/entry.ts"
import type { LogReader } from "../../src/logs/reader.ts"

const toPage = <Item>(all: readonly Item[], { limit, after }: PageRequest): Page<Item> => {
  const from = Number(after ?? 0)
  return { items: all.slice(from, from + limit), next: from + limit < all.length ? String(from + limit) : undefined }
}

const within = (scope: Scope) => `${scope.account}/${scope.region}`
const arnOf = (name: string, scope: Scope) => `arn:aws:lambda:${scope.region}:${scope.account}:microvm-image:${name}`

/** A log in memory, to which nothing is added any more. */
const createMemoryLog = (lines: readonly LogEntry[]): LogReader => ({
  read: async (from, limit) => {
    const entries = lines.slice(from, from + limit)
    return { entries, next: from + entries.length }
  },
  more: async (from) => from < lines.length,
})

/** Images in memory, built the moment they are created. */
export const createMemoryImages = (): Images & { lines: LogEntry[] } => {
  const stored = new Map<string, { image: Image; version: ImageVersion; build: ImageBuild }>()
  const tokens = new Map<string, string>()
  const lines: LogEntry[] = []
  const find = (name: string, scope: Scope) => {
    const found = stored.get(`${within(scope)}/${name}`)
    if (!found) throw notFound(`MicroVMImage not found for MicroVMImageID: ${arnOf(name, scope)}`)
    return found
  }
  const findVersion = (name: string, version: string, scope: Scope) => {
    const found = stored.get(`${within(scope)}/${name}`)
    if (found?.version.version !== version) {
      throw notFound(`MicroVMImage not found for MicroVMImage: ${arnOf(name, scope)}, Version: ${version}`)
    }
    return found
  }
  return {
    lines,
    create: async (request, caller) => {
      const key = `${within(caller)}/${request.name}`
      const hash = JSON.stringify({ ...request, clientToken: undefined })
      const existing = stored.get(key)
      if (existing) {
        const before = request.clientToken === undefined ? undefined : tokens.get(request.clientToken)
        if (before === hash) return existing
        if (before !== undefined) throw conflict("The clientToken was used with other parameters")
        throw validationError(`A MicroVM image with the name '${request.name}' already exists in this account`)
      }
      if (request.clientToken !== undefined) tokens.set(request.clientToken, hash)
      const { name, clientToken: _token, tags, ...recipe } = request
      const createdAt = new Date(1_785_000_000_123)
      const image: Image = {
        name,
        tags,
        state: "CREATING",
        latestActiveVersion: null,
        latestFailedVersion: null,
        createdAt,
        updatedAt: null,
      }
      const version: ImageVersion = {
        ...recipe,
        imageName: name,
        version: "1.0",
        state: "PENDING",
        status: "ACTIVE",
        baseImageVersion: request.baseImageVersion ?? MANAGED_IMAGES[0].versions[0],
        createdAt,
        updatedAt: null,
      }
      const build: ImageBuild = {
        id: randomUUID(),
        imageName: name,
        version: "1.0",
        state: "SUCCESSFUL",
        stateReason: null,
        createdAt,
        sizes: { memoryBytes: 3, codeBytes: 2, diskBytes: 1 },
      }
      stored.set(key, { build, version, image: { ...image, state: "CREATED", latestActiveVersion: "1.0" } })
      return { image, version }
    },
    update: async (name, { clientToken: _token, ...recipe }, caller) => {
      const { image, version, build } = find(name, caller)
      const next = `${Number.parseInt(version.version, 10) + 1}.0`
      const updated: Image = { ...image, state: "UPDATED", latestActiveVersion: next, updatedAt: image.createdAt }
      const made = { ...version, ...recipe, version: next, baseImageVersion: version.baseImageVersion }
      stored.set(`${within(caller)}/${name}`, { build: { ...build, version: next }, version: made, image: updated })
      return { image: { ...updated, state: "UPDATING", latestActiveVersion: image.latestActiveVersion }, version: made }
    },
    get: async (name, scope) => find(name, scope).image,
    list: async (page, scope) =>
      toPage(
        [...stored].flatMap(([key, { image }]) => (key.startsWith(`${within(scope)}/`) ? image : [])),
        page,
      ),
    remove: async (name, scope) => {
      find(name, scope)
      stored.delete(`${within(scope)}/${name}`)
    },
    getVersion: async (name, version, scope) => ({ ...findVersion(name, version, scope).version, state: "SUCCESSFUL" }),
    listVersions: async (name, page, scope) => toPage([find(name, scope).version], page),
    removeVersion: async (name, version, scope) => void findVersion(name, version, scope),
    listBuilds: async (name, version, page, scope) => toPage([findVersion(name, version, scope).build], page),
    getBuild: async (name, version, _id, scope) => findVersion(name, version, scope).build,
    cancelBuild: async (buildId, scope) => {
      for (const [key, { build }] of stored)
        if (key.startsWith(`${within(scope)}/`) && build.id === buildId)
          throw conflict(`The build has ended already: ${build.state}`)
      throw notFound(`Build not found: ${buildId}`)
    },
    buildEnd: async () => ({ state: "SUCCESSFUL", reason: null }),
    buildLog: async (buildId, scope) => {
      const known = [...stored.entries()].some(
        ([key, { build }]) => key.startsWith(`${within(scope)}/`) && build.id === buildId,
      )
      if (!known) throw notFound(`Build not found: ${buildId}`)
      return createMemoryLog(lines)
    },
  }
}

/** MicroVMs in memory, which are what they are asked to be at once. */
export const createMemoryMicrovms = (images: Images): Microvms => {
  const stored = new Map<string, Microvm & Scope>()
  const find = (id: string, scope: Scope) => {
    const found = stored.get(id)
    if (!found || within(found) !== within(scope)) throw notFound(`MicroVM not found: microvm-${id}`)
    return found
  }
  const wish = (id: string, scope: Scope, state: Microvm["state"]) => {
    const found = find(id, scope)
    if (found.state === "TERMINATED") {
      if (state === "TERMINATED") return
      throw validationError(`The MicroVM microvm-${id} has been terminated and its state cannot be changed.`)
    }
    const over = state === "TERMINATED"
    stored.set(id, { ...found, state, stateReason: over ? "Success." : null, terminatedAt: over ? new Date() : null })
  }
  return {
    run: async (request, caller) => {
      const image = await images.get(request.imageName, caller).catch(() => undefined)
      if (!image?.latestActiveVersion) {
        throw notFound(`No active version found for MicroVM image ${arnOf(request.imageName, caller)}`)
      }
      const { clientToken: _token, logging: _logging, ...kept } = request
      const microvm: Microvm = {
        ...kept,
        id: randomUUID(),
        endpointId: randomUUID(),
        state: "PENDING",
        stateReason: null,
        imageVersion: request.imageVersion ?? image.latestActiveVersion,
        startedAt: new Date(1_785_000_001_500),
        terminatedAt: null,
      }
      stored.set(microvm.id, { ...microvm, account: caller.account, region: caller.region })
      return microvm
    },
    get: async (id, scope) => find(id, scope),
    letIn: async (id, _access, scope) => {
      const found = find(id, scope)
      if (found.state !== "TERMINATED") return found
      throw validationError(`The MicroVM microvm-${id} has been terminated and its state cannot be changed.`)
    },
    list: async ({ imageName, imageVersion }, page, scope) =>
      toPage(
        [...stored.values()]
          .filter((microvm) => within(microvm) === within(scope))
          .filter((microvm) => imageName === undefined || microvm.imageName === imageName)
          .filter((microvm) => imageVersion === undefined || microvm.imageVersion === imageVersion)
          .toReversed(),
        page,
      ),
    log: async (id, scope) => {
      find(id, scope)
      return createMemoryLog([])
    },
    suspend: async (id, caller) => wish(id, caller, "SUSPENDED"),
    resume: async (id, caller) => wish(id, caller, "RUNNING"),
    terminate: async (id, caller) => wish(id, caller, "TERMINATED"),
  }
}

/** Layers that one call removes. */
export const createMemoryStorage = (): ImageStorage => {
  let [count, bytes] = [3, 3000]
  return {
    usage: async () => [{ kind: "layers", count, bytes, reclaimableBytes: bytes }],
    prune: async () => {
      const gone = { kind: "layers", count, bytes } as const
      ;[count, bytes] = [0, 0]
      return [gone]
    },
  }
}

/** The archive of who keeps no logs. */
export const createMemoryArchive = (): LogArchive => ({
  days: 7,
  groups: async () => [],
  streams: async () => [],
  async *forward() {},
  async *backward() {},
  async *follow() {},
})
