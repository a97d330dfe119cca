import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { probeAccelerator } from "../../src/vmm/host/accelerator.ts"

let directory: string
let file: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "torpor-accelerator-"))
  file = join(directory, "accelerator.json")
})
afterEach(() => rm(directory, { recursive: true, force: true }))

/** There is no kernel: wherever the machine is really asked, no guest starts. */
const probe = (qemuVersion = "10.0.2") =>
  probeAccelerator(
    { kernel: join(directory, "none"), initramfs: join(directory, "none"), kernelHash: "k", qemuVersion, directory },
    new AbortController().signal,
  )

describe("The accelerator", () => {
  test("is TCG where no guest starts in KVM, with the reason, and that is kept", async () => {
    const verdict = await probe()
    expect(verdict).toMatchObject({ accelerator: "tcg", reason: expect.stringContaining("/dev/kvm") })
    expect(JSON.parse(await readFile(file, "utf8"))).toEqual(verdict)
    const kept = { ...verdict, accelerator: "kvm", reason: "kept" }
    await writeFile(file, JSON.stringify(kept))
    expect(await probe()).toEqual(kept)
  })

  test("is asked for again when QEMU is another, or the machine has started anew", async () => {
    const { about } = await probe()
    const kept = { accelerator: "kvm", reason: "kept", about }
    await writeFile(file, JSON.stringify(kept))
    expect((await probe("10.0.3")).reason).not.toBe("kept")
    await writeFile(file, JSON.stringify({ ...kept, about: about.replace(/^[^,]*/, "another-boot") }))
    expect((await probe()).reason).not.toBe("kept")
  })

  test.for(["", "{", "null", "\0\0\0\0", '{"accelerator":"xen"}'])(
    "is asked for again when what was kept is %j",
    async (text) => {
      const { about } = await probe()
      await writeFile(file, text.replace("}", `,"reason":"kept","about":${JSON.stringify(about)}}`))
      expect(await probe()).toMatchObject({ accelerator: "tcg", about })
    },
  )
})
