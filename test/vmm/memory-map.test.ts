import { once } from "node:events"
import { spawn, type ChildProcess } from "node:child_process"
import { randomBytes } from "node:crypto"
import { mkdtemp, mkdtempDisposable, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import fc from "fast-check"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { openMemoryMap, PAGE_BYTES, type PageRun } from "../../src/vmm/memory/memory-map.ts"
import type { BasePaths } from "../../src/vmm/vmm.ts"
import { createWorkingSets, fetchRead, fetchWritten } from "../../src/vmm/memory/working-sets.ts"

const PAGES = 256
const BYTES = PAGES * PAGE_BYTES

/** Maps a file as told and does to its pages what it reads: it stands for a VMM process. */
const MAPPER = `
import mmap, sys
path, access = sys.argv[1], getattr(mmap, sys.argv[2])
file = open(path, "r+b")
memory = None
for line in sys.stdin:
    verb, *numbers = line.split()
    numbers = [int(number) for number in numbers]
    answer = ""
    if verb == "map": memory = mmap.mmap(file.fileno(), numbers[0], access=access)
    elif verb == "split": memory.madvise(mmap.MADV_DONTDUMP, numbers[0] * 4096, numbers[1] * 4096)
    elif verb == "read": answer = memory[numbers[0] * 4096:(numbers[0] + 1) * 4096].hex()
    elif verb == "write":
        for page in numbers[1:]: memory[page * 4096 + page % 4096] = numbers[0]
    elif verb == "zero":
        for page in numbers: memory[page * 4096:(page + 1) * 4096] = bytes(4096)
    print(answer, flush=True)
`

interface Mapper extends AsyncDisposable {
  readonly pid: number
  say(...words: (string | number)[]): Promise<string>
}

let directory: string
let ram: string
const content = Buffer.concat([Buffer.alloc(16 * PAGE_BYTES), randomBytes(BYTES - 16 * PAGE_BYTES)])
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "torpor-map-"))
  ram = join(directory, "ram")
  await writeFile(ram, content)
})
afterEach(() => rm(directory, { recursive: true, force: true }))

const startMapper = (access = "ACCESS_COPY"): Mapper => {
  const child: ChildProcess = spawn("python3", ["-c", MAPPER, ram, access], { stdio: ["pipe", "pipe", "inherit"] })
  const [exit, lines] = [once(child, "exit"), createInterface({ input: child.stdout! })[Symbol.asyncIterator]()]
  return {
    pid: child.pid ?? 0,
    async say(...words) {
      child.stdin!.write(`${words.join(" ")}\n`)
      const { value, done } = await lines.next()
      if (done === true) throw new Error(`The mapper ended when it was told ${words[0]}`)
      return value
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL")
      await exit
    },
  }
}
const openMap = ({ pid }: Mapper, bytes = BYTES, writable = false) => openMemoryMap(pid, ram, bytes, writable)
const pagesOf = (runs: PageRun[]) =>
  runs.flatMap(({ start, count }) => Array.from({ length: count }, (_, n) => start + n))

describe("The pages that a process has changed", () => {
  test("are found exactly, whatever they are, and only they", async () => {
    await using mapper = startMapper()
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.nat({ max: PAGES - 1 }), { minLength: 1, maxLength: PAGES }),
        fc.array(fc.nat({ max: PAGES - 1 }), { minLength: 1, maxLength: 8 }),
        async (changed, alsoRead) => {
          // The mapping of the run before goes, and its pages with it.
          await mapper.say("map", BYTES)
          for (const page of alsoRead) await mapper.say("read", page)
          await mapper.say("write", 7, ...changed)
          await using map = await openMap(mapper)
          const runs = await map.changed()
          expect(pagesOf(runs)).toEqual(changed.toSorted((one, other) => one - other))
          // Neighbours are one run.
          for (const [index, { start, count }] of runs.entries())
            expect(runs[index + 1]?.start ?? Infinity).toBeGreaterThan(start + count)
        },
      ),
      { numRuns: 40 },
    )
  })

  test("are none when it only reads, and grow as it goes on", async () => {
    await using mapper = startMapper()
    await mapper.say("map", BYTES)
    for (const page of [0, 20, 255]) await mapper.say("read", page)
    await using map = await openMap(mapper)
    expect(await map.changed()).toEqual([])
    await mapper.say("write", 1, 3, 4, 5, 9, PAGES - 1)
    expect(await map.changed()).toEqual([
      { start: 3, count: 3 },
      { start: 9, count: 1 },
      { start: PAGES - 1, count: 1 },
    ])
    await mapper.say("write", 1, 0, 6, 7, 8)
    expect(await map.changed()).toEqual([
      { start: 0, count: 1 },
      { start: 3, count: 7 },
      { start: PAGES - 1, count: 1 },
    ])
  })

  test("include what is zero now, and what was written as it was", async () => {
    await using mapper = startMapper()
    await mapper.say("map", BYTES)
    await mapper.say("zero", 2, 40)
    await using map = await openMap(mapper)
    expect(await map.changed()).toEqual([
      { start: 2, count: 1 },
      { start: 40, count: 1 },
    ])
  })

  test("are none in a file that is shared: what is written is the file's", async () => {
    await using mapper = startMapper("ACCESS_WRITE")
    await mapper.say("map", BYTES)
    await mapper.say("write", 9, 1, 2, 3)
    await using map = await openMap(mapper)
    expect(await map.changed()).toEqual([])
  })

  test("are found in a mapping that the kernel shows as several", async () => {
    await using mapper = startMapper()
    await mapper.say("map", BYTES)
    await mapper.say("split", 64, 8)
    const shown = (await readFile(`/proc/${mapper.pid}/maps`, "utf8")).split("\n").filter((line) => line.endsWith(ram))
    expect(shown).toHaveLength(3)
    await mapper.say("write", 1, 63, 64, 71, 72)
    await using map = await openMap(mapper)
    expect(await map.changed()).toEqual([
      { start: 63, count: 2 },
      { start: 71, count: 2 },
    ])
  })
})

describe("A process's memory", () => {
  test("is read as the process has it, not as the file", async () => {
    await using mapper = startMapper()
    await mapper.say("map", BYTES)
    await mapper.say("write", 250, 17)
    await mapper.say("zero", 18)
    await using map = await openMap(mapper)
    const pages = Buffer.alloc(4 * PAGE_BYTES)
    map.read(pages, 16)
    const expected = Buffer.from(content.subarray(16 * PAGE_BYTES, 20 * PAGE_BYTES))
    expected.writeUInt8(250, PAGE_BYTES + 17)
    expected.fill(0, 2 * PAGE_BYTES, 3 * PAGE_BYTES)
    expect(pages.equals(expected)).toBe(true)
  })

  test("is written where it was meant, seen by the process, and leaves the file alone", async () => {
    await using mapper = startMapper()
    await mapper.say("map", BYTES)
    await using map = await openMap(mapper, BYTES, true)
    const pages = randomBytes(3 * PAGE_BYTES)
    map.write(pages, PAGES - 3)
    map.write(Buffer.alloc(PAGE_BYTES), 100)
    for (const [index, page] of [PAGES - 3, PAGES - 2, PAGES - 1].entries())
      expect(await mapper.say("read", page)).toBe(pages.toString("hex", index * PAGE_BYTES, (index + 1) * PAGE_BYTES))
    expect(await mapper.say("read", 100)).toBe(Buffer.alloc(PAGE_BYTES).toString("hex"))
    expect(await mapper.say("read", 99)).toBe(content.toString("hex", 99 * PAGE_BYTES, 100 * PAGE_BYTES))
    expect(await map.changed()).toEqual([
      { start: 100, count: 1 },
      { start: PAGES - 3, count: 3 },
    ])
    expect((await readFile(ram)).equals(content)).toBe(true)
  })

  test("cannot be written when it was opened to be read", async () => {
    await using mapper = startMapper()
    await mapper.say("map", BYTES)
    await using map = await openMap(mapper)
    expect(() => map.write(Buffer.alloc(PAGE_BYTES), 0)).toThrow("EBADF")
    expect(await mapper.say("read", 20)).toBe(content.toString("hex", 20 * PAGE_BYTES, 21 * PAGE_BYTES))
  })

  test("is not found where the file isn't mapped, or not in the expected length", async () => {
    await using mapper = startMapper()
    await mapper.say("none")
    await expect(openMap(mapper)).rejects.toThrow(`The guest's memory is not mapped as expected: 0 of ${BYTES} bytes`)
    await mapper.say("map", BYTES / 2)
    await expect(openMap(mapper)).rejects.toThrow(`not mapped as expected: ${BYTES / 2} of ${BYTES} bytes`)
    await using half = await openMap(mapper, BYTES / 2)
    expect(await half.changed()).toEqual([])
    await expect(openMap(mapper, BYTES / 4)).rejects.toThrow("not mapped as expected")
  })

  test("is not found in a process that is gone, nor read once it is", async () => {
    const mapper = startMapper()
    await mapper.say("map", BYTES)
    await using map = await openMap(mapper)
    await mapper[Symbol.asyncDispose]()
    await expect(openMap(mapper)).rejects.toThrow("ENOENT")
    expect(() => map.read(Buffer.alloc(PAGE_BYTES), 0)).toThrow("The guest's memory could not be read")
    await expect(map.changed()).rejects.toThrow("ENOENT")
  })
})

describe("What the guests of a base touch first", () => {
  const WRITTEN = [3, 4, 200]
  const READ = [40, 90]
  const openBase = () => mkdtempDisposable(join(tmpdir(), "torpor-base-"))
  const baseOf = ({ path }: { path: string }) => ({ directory: path })

  /** Learns from a process that has touched these. */
  const learn = async (base: BasePaths) => {
    const sets = createWorkingSets()
    await using first = startMapper()
    await first.say("map", BYTES)
    for (const page of READ) await first.say("read", page)
    await first.say("write", 7, ...WRITTEN)
    await using map = await openMap(first)
    await sets.learn(base, map, 10)
    return sets
  }

  test("is there in the next one before it runs, with what the file has in it", async () => {
    await using place = await openBase()
    const base = baseOf(place)
    await learn(base)
    // By what is kept with the base, as the next daemon has it.
    const touched = (await createWorkingSets().of(base, PAGES))!
    expect(touched.written).toEqual(WRITTEN)
    await using next = startMapper()
    await next.say("map", BYTES)
    await using map = await openMap(next, BYTES, true)
    expect(await map.touched()).toEqual({ written: [], read: [] })
    await fetchWritten(map, touched)
    await fetchRead(map, touched)
    const found = await map.touched()
    expect(found.written).toEqual(WRITTEN)
    const blocks = (pages: readonly number[]) => new Set(pages.map((page) => Math.floor(page / 16)))
    for (const block of blocks(READ)) expect(blocks(found.read)).toContain(block)
    for (const page of [...WRITTEN, ...READ])
      expect(await next.say("read", page)).toBe(
        content.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES).toString("hex"),
      )
  })

  test("is learned once for each base, and not from one that has touched very much", async () => {
    await using place = await openBase()
    const base = baseOf(place)
    const sets = await learn(base)
    const touched = await sets.of(base, PAGES)
    for (const again of [sets, createWorkingSets()])
      await again.learn(base, { touched: async () => ({ written: [1], read: [] }) }, 10)
    expect(await createWorkingSets().of(base, PAGES)).toEqual(touched)
    await using other = await openBase()
    const written = (count: number) => ({
      touched: async () => ({ written: Array.from({ length: count }, (_, n) => n), read: [] }),
    })
    await sets.learn(baseOf(other), written(11), 10)
    await sets.learn(baseOf(other), written(5000), Infinity)
    expect(await readdir(other.path)).toEqual([])
    expect(await sets.of(baseOf(other), PAGES)).toBeUndefined()
  })

  test("is nothing where the file says something else, or pages that a guest doesn't have", async () => {
    await using place = await openBase()
    const base = baseOf(place)
    const kept = (text: string) => writeFile(join(place.path, "working-set.json"), text)
    for (const text of ["", "{", '{"written":[-1],"read":[]}', '{"written":[0.5],"read":[]}', '{"read":[]}']) {
      await kept(text)
      expect(await createWorkingSets().of(base, PAGES)).toBeUndefined()
    }
    await kept(JSON.stringify({ written: [PAGES - 1], read: [] }))
    expect(await createWorkingSets().of(base, PAGES)).toBeDefined()
    expect(await createWorkingSets().of(base, PAGES - 1)).toBeUndefined()
  })
})
