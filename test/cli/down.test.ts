import { mkdtemp, readdir, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, test } from "vitest"
import { PLAIN, runToEnd, torpor } from "./torpor.ts"

test("Where nothing was ever started nothing is made, to be taken down again", async () => {
  const parent = await mkdtemp(join(tmpdir(), "torpor-down-"))
  try {
    const path = join(parent, "data")
    expect(await runToEnd(torpor("down"), { ...PLAIN, TORPOR_DATA_DIR: path })).toEqual({
      code: 0,
      stdout: `Nothing was ever started in ${path}.\n`,
      stderr: "",
    })
    expect(await readdir(parent)).toEqual([])
  } finally {
    await rm(parent, { recursive: true })
  }
})
