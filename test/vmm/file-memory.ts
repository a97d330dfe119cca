/** A guest's memory in a plain file: a {@link MemoryMap} that finds what has changed by comparing with the base. */
import { readSync, writeSync } from "node:fs"
import { open } from "node:fs/promises"
import { PAGE_BYTES, type MemoryMap, type PageRun } from "../../src/vmm/memory/memory-map.ts"

/** Opens the memory in `path`, as long as the base in `basePath`; `touched` pages count as changed whatever they hold. The caller disposes it. */
export const openFileMemory = async (
  path: string,
  basePath: string,
  touched: ReadonlySet<number> = new Set(),
): Promise<MemoryMap> => {
  const file = await open(path, "r+")
  return {
    async changed() {
      await using base = await open(basePath, "r")
      const [before, now] = [await base.readFile(), Buffer.alloc((await file.stat()).size)]
      await file.read(now, 0, now.length, 0)
      const runs: PageRun[] = []
      for (let page = 0; page * PAGE_BYTES < now.length; page++) {
        const [from, to] = [page * PAGE_BYTES, (page + 1) * PAGE_BYTES]
        if (!touched.has(page) && now.subarray(from, to).equals(before.subarray(from, to))) continue
        const last = runs.at(-1)
        if (last !== undefined && last.start + last.count === page)
          runs.splice(-1, 1, { ...last, count: last.count + 1 })
        else runs.push({ start: page, count: 1 })
      }
      return runs
    },
    read: (buffer, page) => void readSync(file.fd, buffer, 0, buffer.length, page * PAGE_BYTES),
    write: (buffer, page) => void writeSync(file.fd, buffer, 0, buffer.length, page * PAGE_BYTES),
    [Symbol.asyncDispose]: () => file.close(),
  }
}
