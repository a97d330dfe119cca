/** Build contexts: folders beside this file, and packages as their authors publish them. */
import { execFileSync } from "node:child_process"
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { zipOf } from "../../../src/cli/sample.ts"

/** The files of a folder by their names in it. */
export const contextOf = async (name: string): Promise<Record<string, Buffer>> => {
  const root = new URL(`${name}/`, import.meta.url).pathname
  const entries = await readdir(root, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  return Object.fromEntries(
    await Promise.all(files.map(async (file) => [file.slice(root.length), await readFile(file)] as const)),
  )
}

/** A Python package of one module, as pip takes it. */
export const toWheel = (name: string, version: string, module: string): Promise<Buffer> => {
  const info = `${name}-${version}.dist-info`
  return zipOf({
    [`${name}.py`]: module,
    [`${info}/METADATA`]: `Metadata-Version: 2.1\nName: ${name}\nVersion: ${version}\n`,
    [`${info}/WHEEL`]: "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    [`${info}/RECORD`]: `${name}.py,,\n${info}/METADATA,,\n${info}/WHEEL,,\n${info}/RECORD,,\n`,
  })
}

/** A package of one module, as npm takes it. */
export const toTarball = async (name: string, version: string, module: string): Promise<Buffer> => {
  const directory = await mkdtemp(join(tmpdir(), "torpor-npm-package-"))
  try {
    const content = join(directory, "package")
    await mkdir(content)
    await writeFile(join(content, "package.json"), JSON.stringify({ name, version, main: "index.js" }))
    await writeFile(join(content, "index.js"), module)
    const file = join(directory, "package.tgz")
    execFileSync("bsdtar", ["-c", "--gzip", "-f", file, "-C", directory, "package"])
    return await readFile(file)
  } finally {
    await rm(directory, { recursive: true })
  }
}
