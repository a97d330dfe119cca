/** A small program in place of Torpor's own, with the real launcher and the real maker. */
import { copyFile, cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, utimes, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { PLAIN, runToEnd } from "./cli/torpor.ts"

const REAL = new URL("..", import.meta.url).pathname
const root = await mkdtemp(join(tmpdir(), "torpor-program-"))
afterAll(() => rm(root, { recursive: true }))

const MAIN = `
import { readFileSync } from "node:fs"
const { whereFrom } = await import("./where.ts")
const name: string = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")).name
console.log(JSON.stringify({ name, says: "first", main: import.meta.filename, url: "import.meta.url", ...whereFrom() }))
`
const WHERE = `
interface Where { readonly at: string }

export const whereFrom = (): Where => ({ at: new Error("here").stack ?? "" })
`

beforeAll(async () => {
  for (const folder of ["src/cli", "images/system", "images/agent", "node_modules"])
    await mkdir(join(root, folder), { recursive: true })
  await cp(join(REAL, "src/program"), join(root, "src/program"), { recursive: true })
  for (const file of ["src/cli/torpor", "src/errors.ts", "src/file-lock.ts", "images/system/agent-bundle.ts"])
    await copyFile(join(REAL, file), join(root, file))
  for (const installed of [".bin", "esbuild"])
    await symlink(join(REAL, "node_modules", installed), join(root, "node_modules", installed))
  await writeFile(join(root, "node_modules/.package-lock.json"), "{}")
  await writeFile(join(root, "package.json"), '{"name":"small","type":"module"}')
  await writeFile(join(root, "src/main.ts"), MAIN)
  await writeFile(join(root, "src/where.ts"), WHERE)
  await writeFile(join(root, "images/agent/main.ts"), "console.log('agent')")
})

const start = async () => {
  const { code, stdout, stderr } = await runToEnd([join(root, "src/cli/torpor")], PLAIN)
  if (code !== 0) throw new Error(stderr)
  return JSON.parse(stdout) as {
    name: string
    says: string
    main: string
    url: string
    at: string
  }
}

const make = async () => {
  const { code, stderr } = await runToEnd([process.execPath, join(root, "src/program/make.ts")], PLAIN)
  if (code !== 0) throw new Error(stderr)
}

const programs = async () =>
  (await readdir(join(root, "node_modules/.cache/torpor"))).filter((name) => name !== "current" && name !== "lock")

test("Torpor starts from its sources until it is put together in one piece, which finds what lay beside them and names their lines in its errors", async () => {
  expect((await start()).main).toBe(join(root, "src/main.ts"))
  await make()
  const { name, main, url, at } = await start()
  expect(main).toMatch(/\/node_modules\/\.cache\/torpor\/[0-9a-f-]{36}\/main\.mjs$/)
  expect(name).toBe("small")
  expect(url).toBe("import.meta.url")
  expect(at).toContain(`${join(root, "src/where.ts")}:4:`)
  const [before] = await programs()
  await make()
  expect(await programs()).toEqual([before])
})

test("What has changed since is started from its sources, whatever time its file says, and put together anew", async () => {
  await make()
  const file = join(root, "src/main.ts")
  await writeFile(file, (await readFile(file, "utf8")).replace("first", "second"))
  await utimes(file, 1, 1)
  expect(await start()).toMatchObject({ says: "second", main: file })
  await make()
  const { says, main } = await start()
  expect(says).toBe("second")
  expect(main).toContain("/.cache/torpor/")
})

test("The agent that lies beside it is what its sources are: it is put together anew when one of them has changed", async () => {
  const agent = () => readFile(join(root, "node_modules/.cache/torpor/current/agent.mjs"), "utf8")
  await make()
  expect(await agent()).toContain("agent")
  await writeFile(join(root, "images/agent/main.ts"), "console.log('another')")
  expect((await start()).main).toBe(join(root, "src/main.ts"))
  await make()
  expect(await agent()).toContain("another")
})

test("A copy of a checkout runs its own program, not that of the one it was copied from", async () => {
  await make()
  const copy = `${root}-copy`
  await cp(root, copy, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true })
  try {
    const { code, stdout, stderr } = await runToEnd([join(copy, "src/cli/torpor")], PLAIN)
    expect(code, stderr).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ main: join(copy, "src/main.ts") })
  } finally {
    await rm(copy, { recursive: true })
  }
})

test("Of those that were put together the last few are kept, and nothing that was not finished", async () => {
  await mkdir(join(root, "node_modules/.cache/torpor/unfinished"), { recursive: true })
  for (const says of ["a", "b", "c", "d", "e"]) {
    await writeFile(join(root, "src/where.ts"), WHERE.replace('"here"', JSON.stringify(says)))
    await make()
  }
  const left = await programs()
  expect(left).toHaveLength(4)
  expect(left).not.toContain("unfinished")
  expect((await start()).at).toContain("Error: e")
})
