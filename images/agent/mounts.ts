/** What a process finds mounted beside the image: places of drives, caches, memory. Made before it starts, as mounts of its container. */
import { access, chmod, chown, cp, mkdir, rm } from "node:fs/promises"
import { dirname, join } from "node:path"
import type { MountSpec } from "../../src/agent/protocol.ts"
import { pathOnDrive } from "./drives.ts"
import { resolveInImage } from "./image-root.ts"
import { mount, MOUNT, unmount } from "./mount.ts"

export interface OciMount {
  readonly destination: string
  readonly type: string
  readonly source: string
  readonly options: readonly string[]
}

type Of<Kind extends MountSpec["kind"]> = Extract<MountSpec, { kind: Kind }>

/** The container's mounts for a process; what has to be there for them is there when it resolves. */
export const prepareMounts = (specs: readonly MountSpec[]): Promise<OciMount[]> =>
  Promise.all(specs.map((spec, index) => prepareMount(spec, index)))

/** What a process that waits has empty places for, until the drives are there that it is on. */
export type Places = readonly (Of<"bind"> & { readonly place: string })[]

/** As {@link prepareMounts}, for a process that waits: what isn't there yet has an empty place in `directory`, to be filled. */
export const preparePlaces = async (
  specs: readonly MountSpec[],
  directory: string,
): Promise<{ readonly mounts: OciMount[]; readonly places: Places }> => {
  const places: Places[number][] = []
  const mounts = await Promise.all(
    specs.map(async (spec, index) => {
      const { target } = spec
      if (spec.kind !== "bind" || (await isThere(spec))) return prepareMount(spec, index)
      const place = join(directory, String(index))
      await mkdir(place, { recursive: true })
      places.push({ ...spec, place })
      // Whether it can be written to is said by what will be mounted.
      const { options, ...mounted } = bind(target, place, false)
      return { ...mounted, options: [...options, "rslave"] }
    }),
  )
  return { mounts, places }
}

/** Mounts what is on a drive in its places, as soon as that is mounted itself. */
export const fillPlaces = (drive: number, places: Places): void => {
  for (const { from, path, place } of places)
    if (from.drive === drive) mount(resolveInImage(path, pathOnDrive(from)), place, "", [MOUNT.bind])
}

/** Takes away again what {@link fillPlaces} has mounted, of which the process holds nothing any more. */
export const emptyPlaces = (drive: number, places: Places): void => {
  for (const { from, place } of places) if (from.drive === drive) unmount(place)
}

/** The same of all drives, whether there was anything or not: the process has ended. */
export const leavePlaces = (places: Places): void => {
  for (const { place } of places) {
    try {
      unmount(place)
    } catch {
      // Nothing was mounted there.
    }
  }
}

const isThere = async ({ path, from }: Of<"bind">): Promise<boolean> =>
  access(resolveInImage(path, pathOnDrive(from))).then(
    () => true,
    () => false,
  )

const prepareMount = async (spec: MountSpec, index: number): Promise<OciMount> => {
  if (spec.kind === "tmpfs") return tmpfs(spec)
  if (spec.kind === "node") return bind(spec.target, process.execPath, true)
  return spec.kind === "cache" ? prepareCache(spec) : prepareBind(spec, index)
}

const tmpfs = ({ target, sizeBytes }: Of<"tmpfs">): OciMount => ({
  destination: target,
  type: "tmpfs",
  source: "tmpfs",
  options: ["nosuid", "nodev", "mode=1777", ...(sizeBytes === null ? [] : [`size=${sizeBytes}`])],
})

const prepareCache = async (spec: Of<"cache">): Promise<OciMount> => {
  const { on, name, target, uid, gid, mode, isReadOnly, seed } = spec
  const directory = pathOnDrive({ ...on, path: join(on.path, name) })
  // As the first who used it wanted it.
  if ((await mkdir(directory, { recursive: true })) !== undefined) {
    if (seed !== null) await copyAll(resolveInImage(seed.path, pathOnDrive(seed.from)), directory)
    await chown(directory, uid, gid)
    await chmod(directory, mode)
  }
  return bind(target, directory, isReadOnly)
}

const prepareBind = async (
  { from, path, target, copyTo, isWritable = false }: Of<"bind">,
  index: number,
): Promise<OciMount> => {
  const source = resolveInImage(path, pathOnDrive(from))
  if (copyTo === null) return bind(target, source, !isWritable)
  // What is written to it is nobody's: the next step finds the source as it was.
  const copy = pathOnDrive({ ...copyTo, path: join(copyTo.path, String(index)) })
  await rm(copy, { recursive: true, force: true })
  await mkdir(dirname(copy), { recursive: true })
  await copyAll(source, copy)
  return bind(target, copy, false)
}

const copyAll = (from: string, to: string) =>
  cp(from, to, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true })

const bind = (destination: string, source: string, isReadOnly: boolean): OciMount => ({
  destination,
  type: "bind",
  source,
  options: ["rbind", isReadOnly ? "ro" : "rw"],
})
