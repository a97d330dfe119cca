import { mkdir, rm } from "node:fs/promises"
import { join } from "node:path"
import { runCommand } from "../../src/command.ts"
import { readSources, type Recipe } from "../artifact.ts"
import { makeExt4 } from "../ext4.ts"
import { ROOT_DISK_MIB } from "./base.ts"

const SOURCES = [new URL("../ext4.ts", import.meta.url), new URL(import.meta.url)]

/** `disk.raw`: a file system with nothing in it, under what comes from elsewhere: FROM scratch, another registry's image, a build's scratch. */
export const blankRecipe = async (): Promise<Recipe> => ({
  kind: "blank",
  ingredients: [String(ROOT_DISK_MIB), ...(await readSources(...SOURCES))],
  async build(directory, signal) {
    const [tree, disk] = [join(directory, "tree"), join(directory, "disk.raw")]
    await mkdir(tree)
    await makeExt4(disk, { tree, sizeMiB: ROOT_DISK_MIB, label: "root" }, signal)
    // An empty image has not even that.
    await runCommand("debugfs", ["-w", "-R", "rmdir lost+found", disk], { signal })
    await rm(tree, { recursive: true })
  },
})
