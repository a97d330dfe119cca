/** KVM or TCG? That /dev/kvm opens proves nothing: on some machines a stock kernel hangs in it. So a small guest decides, once. */
import { spawn } from "node:child_process"
import { constants } from "node:fs"
import { access, readFile, rename, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { z } from "zod"
import { messageOf } from "../../errors.ts"
import { QEMU } from "../process/command-line.ts"
import { bootId } from "./host-facts.ts"
import type { Accelerator } from "../vmm.ts"

const Verdict = z.object({
  accelerator: z.enum(["kvm", "tcg"] satisfies Accelerator[]),
  /** A sentence for `doctor`. */
  reason: z.string(),
  /** What the verdict is about; another kernel, QEMU or boot of the host is asked again. */
  about: z.string(),
})
export type Verdict = Readonly<z.infer<typeof Verdict>>

/** TCG is not a security boundary by QEMU's own statement; said once at start and by `doctor`. */
export const TCG_WARNING =
  "Guests run under TCG, QEMU's software emulation. QEMU's maintainers do not treat it as a security boundary: run code you do not trust only on hosts with a working KVM."

/** How long the small guest has to print its first line under KVM; it takes well under a second where KVM works. */
const DEADLINE_MS = 5000

/** The verdict for this machine, kept in `directory`. */
export const probeAccelerator = async (
  options: { kernel: string; initramfs: string; kernelHash: string; qemuVersion: string; directory: string },
  signal: AbortSignal,
): Promise<Verdict> => {
  const about = [await bootId(), options.qemuVersion, options.kernelHash].join()
  const file = join(options.directory, "accelerator.json")
  const kept = await readVerdict(file)
  if (kept?.about === about) return kept
  const verdict: Verdict = { ...(await judge(options, signal)), about }
  await writeFile(`${file}.new`, JSON.stringify(verdict))
  await rename(`${file}.new`, file)
  return verdict
}

/** A file that is missing or malformed, or that a power cut left half-written, is ignored: the machine is probed again. */
const readVerdict = async (file: string): Promise<Verdict | undefined> => {
  try {
    return Verdict.parse(JSON.parse(await readFile(file, "utf8")))
  } catch {
    return undefined
  }
}

const judge = async (
  { kernel, initramfs }: { kernel: string; initramfs: string },
  signal: AbortSignal,
): Promise<Omit<Verdict, "about">> => {
  try {
    await access("/dev/kvm", constants.R_OK | constants.W_OK)
  } catch (error) {
    return { accelerator: "tcg", reason: `/dev/kvm cannot be used (${messageOf(error)})` }
  }
  const said = await firstLine(kernel, initramfs, signal)
  return said.ok
    ? { accelerator: "kvm", reason: "a small guest started in KVM" }
    : { accelerator: "tcg", reason: `/dev/kvm opens, but a small guest did not start in it: ${said.why}` }
}

const firstLine = (
  kernel: string,
  initramfs: string,
  signal: AbortSignal,
): Promise<{ ok: true } | { ok: false; why: string }> =>
  new Promise((resolve) => {
    const child = spawn(
      QEMU,
      [
        ..."-nodefaults -no-user-config -display none -no-reboot -M microvm -accel kvm -cpu host -m 128M -serial stdio".split(
          " ",
        ),
        "-kernel",
        kernel,
        "-initrd",
        initramfs,
        "-append",
        "console=ttyS0 reboot=t panic=-1",
      ],
      { stdio: ["ignore", "pipe", "pipe"], signal },
    )
    let words = ""
    const end = (answer: { ok: true } | { ok: false; why: string }) => {
      clearTimeout(deadline)
      child.kill("SIGKILL")
      resolve(answer)
    }
    const deadline = setTimeout(() => end({ ok: false, why: `no line within ${DEADLINE_MS / 1000} s` }), DEADLINE_MS)
    // The initramfs finds no system disk and says so: then the whole way to user space works.
    child.stdout.on("data", (text: Buffer) => {
      words = (words + text.toString()).slice(-2000)
      if (words.includes("torpor: there is no system disk")) end({ ok: true })
    })
    child.stderr.on("data", (text: Buffer) => (words = (words + text.toString()).slice(-2000)))
    child.once("error", (error) => end({ ok: false, why: error.message }))
    child.once("close", (code, name) =>
      end({ ok: false, why: `QEMU ended (${name ?? code}): ${words.trim().split("\n").at(-1)}` }),
    )
  })
