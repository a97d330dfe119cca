/**
 * The build context, as an archive's directory tells of it: a tree in which every path has the digest of all that is below it, so that
 * a COPY costs what it names and not the whole archive. Its owner is hostile: all work is counted.
 */
import { createHash } from "node:crypto"
import { ArchiveError } from "./archive-error.ts"
import { isGlob, parseGlobPart } from "./dockerfile/glob.ts"

export interface ContextEntry {
  /** Relative, without a slash at its end. */
  readonly path: string
  readonly kind: "file" | "directory" | "link"
  readonly mode: number
  /** Equal means equal content. */
  readonly digest: string
}

export interface Context {
  /** What is behind a link is only known when it is followed, in the guest. */
  readonly hasLinks: boolean
  /** The digest of all of it. */
  readonly digest: string
  /**
   * The paths that a COPY's source names, sorted, with one digest for their names and all that is in them. There are none when a glob
   * matches nothing, or a plain path isn't there. Throws an Error in plain words on a glob that is malformed or takes too long.
   */
  find(source: string): Found
}

export interface Found {
  readonly paths: readonly string[]
  readonly digest: string
}

interface Node {
  readonly children: Map<string, Node>
  entry: ContextEntry | undefined
  digest: string
}

/** Comparisons of a glob's character with a name's: a second or two of one core. */
const MAX_WORK = 300_000_000

/** A context over entries whose paths are clean and different; throws {@link ArchiveError} on a file that is a directory too. */
export const createContext = (entries: readonly ContextEntry[]): Context => {
  const root: Node = { children: new Map(), entry: undefined, digest: "" }
  for (const entry of entries) {
    let node = root
    for (const part of entry.path.split("/")) node = childOf(node, part)
    node.entry = entry
  }
  setDigests(root)
  const found = new Map<string, Found>()
  let work = 0

  const childrenLike = (node: Node, part: string): [string, Node][] => {
    if (!isGlob(part)) return [...entriesAt(node, part)]
    const glob = parseGlobPart(part)
    if (glob === undefined) throw new Error(`syntax error in pattern: ${part.slice(0, 100)}`)
    return [...node.children].filter(([name]) => {
      work += glob.cost(name.length)
      if (work > MAX_WORK) throw new Error("its globs take too long on an archive of this size")
      return glob.matches(name)
    })
  }

  const search = (source: string): Found => {
    let frontier: [string, Node][] = [["", root]]
    for (const part of source.split("/").filter((name) => name !== "" && name !== "."))
      frontier = frontier.flatMap(([path, node]) =>
        childrenLike(node, part).map(([name, child]): [string, Node] => [
          path === "" ? name : `${path}/${name}`,
          child,
        ]),
      )
    frontier.sort(([a], [b]) => (a < b ? -1 : 1))
    const hash = createHash("sha256")
    for (const [path, node] of frontier) hash.update(JSON.stringify([path, node.digest]))
    return { paths: frontier.map(([path]) => (path === "" ? "." : path)), digest: hash.digest("hex") }
  }

  return {
    hasLinks: entries.some(({ kind }) => kind === "link"),
    digest: root.digest,
    find(source) {
      const known = found.get(source) ?? search(source)
      found.set(source, known)
      return known
    },
  }
}

const entriesAt = (node: Node, name: string): [string, Node][] => {
  const child = node.children.get(name)
  return child === undefined ? [] : [[name, child]]
}

const childOf = (parent: Node, name: string): Node => {
  let child = parent.children.get(name)
  if (child === undefined) {
    child = { children: new Map(), entry: undefined, digest: "" }
    parent.children.set(name, child)
  }
  return child
}

/** From the leaves up; paths are short, so this is not deep. */
const setDigests = (node: Node): void => {
  const { entry, children } = node
  if (entry !== undefined && entry.kind !== "directory" && children.size > 0)
    throw new ArchiveError(
      "ARCHIVE_INVALID",
      `The code artifact is refused: '${entry.path.slice(0, 100)}' is a ${entry.kind} and has something in it`,
    )
  const hash = createHash("sha256").update(JSON.stringify([entry?.kind, entry?.mode, entry?.digest]))
  for (const [name, child] of [...children].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    setDigests(child)
    hash.update(JSON.stringify([name, child.digest]))
  }
  node.digest = hash.digest("hex")
}
