import { mkdir, mkdtemp, readdir, rm, writeFile, chown } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { runCommand } from "../../src/command.ts"
import { hugeHeap } from "../../src/vmm/process/heap.ts"
import { spawnJailed, type Jail } from "../../src/vmm/process/jail.ts"

const never = new AbortController().signal
const UID = 64_000
const namespace = `torpor-jailtest-${process.pid}`

let directory: string
let jail: Jail
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "torpor-jail-"))
  const [given, own] = [join(directory, "given"), join(directory, "own")]
  await writeFile(given, "given\n")
  await writeFile(join(directory, "other"), "other\n")
  await mkdir(own)
  await chown(own, UID, UID)
  await runCommand("ip", ["netns", "add", namespace], { signal: never })
  jail = {
    uid: UID,
    namespace,
    readOnly: [given],
    writable: [own],
    devices: [["/dev/null", "/dev/null"]],
    cgroups: [],
  }
})
afterAll(async () => {
  await runCommand("ip", ["netns", "delete", namespace], { signal: never })
  await rm(directory, { recursive: true, force: true })
})

/** What a program says on stderr in the jail, and how it ends. */
const run = async (script: string, more: Partial<Jail> = {}) => {
  const { ended, words } = await spawnJailed({ ...jail, ...more }, ["sh", "-c", `exec >&2; ${script}`], [], never)
  return { ...(await ended), words: words() }
}

describe("A program in a jail", () => {
  test("has its slot's uid and no other group, and is alone with its pid", async () => {
    expect((await run("id -u; id -G; echo $$; uname -n | wc -l")).words).toBe(`${UID}; ${UID}; 1; 1`)
  })

  test("has a heap of huge pages: the C library finds what it reads for that, and takes the words", async () => {
    const { files, environment } = hugeHeap()
    const script = `cat ${files.join(" ")} /dev/null | wc -l; /lib64/ld-linux-x86-64.so.2 --list-tunables`
    const { words } = await run(`{ ${script}; } | grep -E '^[0-9]|malloc.(hugetlb|arena_max|top_pad|mmap_th)'`, {
      readOnly: files,
      environment,
    })
    const found = words.split("; ").map((line) => line.replace(/ \(.*/, ""))
    expect(found.toSorted()).toEqual([
      String(files.length),
      "glibc.malloc.arena_max: 0x1",
      "glibc.malloc.hugetlb: 0x1",
      "glibc.malloc.mmap_threshold: 0x1000000",
      "glibc.malloc.top_pad: 0x800000",
    ])
  })

  test("sees the files that it was given, and writes to its own alone", async () => {
    const script = [
      "cat given",
      "echo no >> given || echo read-only",
      "echo no > /usr/no || echo read-only",
      "echo no > no || echo not-mine",
      "echo yes > own/yes && cat own/yes",
      "ls",
    ].join("; ")
    const { words } = await run(`cd ${directory}; { ${script}; } 2>/dev/null`)
    expect(words).toBe("given; read-only; read-only; not-mine; yes; given; own")
    expect(await readdir(join(directory, "own"))).toEqual(["yes"])
    expect((await run("ls -A /; ls -A /dev")).words).toBe("bin; dev; etc; lib; lib64; sbin; tmp; usr; null")
  })

  test("is quoted on one line, without anything that acts on a terminal, and not at length", async () => {
    expect((await run(String.raw`printf 'one\n  two\033[2J\000\n\n'`)).words).toBe("one; two\\u001b[2J\\u0000")
    const { words } = await run("yes | head -c 1000000; echo the end")
    expect(words.length).toBeLessThanOrEqual(8192)
    expect(words.endsWith("the end")).toBe(true)
  })

  test("that fails, or is killed, is known by how", async () => {
    expect(await run("exit 3")).toMatchObject({ code: 3, signal: null })
    const { pid, ended } = await spawnJailed(jail, ["sleep", "infinity"], [], never)
    process.kill(pid, "SIGKILL")
    expect(await ended).toMatchObject({ code: 137 })
  })

  test.for<[what: string, more: Partial<Jail>, reason: RegExp]>([
    ["its network is missing", { namespace: "torpor-none" }, /could not be started: nsenter: .*torpor-none/],
    ["its control group is missing", { cgroups: ["/sys/fs/cgroup/none/cgroup.procs"] }, /could not be started: .*none/],
  ])("is not started when %s, and the reason is said", async ([, more, reason]) => {
    await expect(run("true", more)).rejects.toThrow(reason)
  })

  test("never runs when one of its files is missing, and the reason is said", async () => {
    const { code, words } = await run("echo runs", { readOnly: ["/none"] })
    expect(code).not.toBe(0)
    expect(words).toMatch(/^bwrap: Can't find source path \/none/)
  })

  test("is not started when nobody wants it any more", async () => {
    await expect(spawnJailed(jail, ["true"], [], AbortSignal.abort(new Error("enough")))).rejects.toThrow("enough")
  })
})
