import { chmod, copyFile, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { runCommand } from "../../src/command.ts"
import { readSources, type Recipe } from "../artifact.ts"
import { installPackages, type Debian } from "../packages.ts"

const PACKAGE = "linux-image-cloud-amd64"
const INIT = new URL("init", import.meta.url)
/** In the order of their dependencies; virtio, its rings and its console are built in. */
const MODULES = ["virtio_mmio", "virtio_blk", "failover", "net_failover", "virtio_net", "virtio-rng"]

/** `vmlinuz` and `initrd`: Debian's kernel for virtual machines, and an initramfs that only finds the system disk. */
export const kernelRecipe = async (debian: Debian): Promise<Recipe> => ({
  kind: "kernel",
  ingredients: [JSON.stringify(debian), PACKAGE, MODULES.join(), ...(await readSources(INIT))],
  async build(directory, signal) {
    const tree = join(directory, "tree")
    await installPackages(debian, "extract", [PACKAGE, "busybox-static"], tree, [], signal)
    const [kernel] = (await readdir(join(tree, "boot"))).filter((name) => name.startsWith("vmlinuz-"))
    if (kernel === undefined) throw new Error(`${PACKAGE} brought no kernel`)
    await copyFile(join(tree, "boot", kernel), join(directory, "vmlinuz"))
    await makeInitramfs(tree, kernel.slice("vmlinuz-".length), join(directory, "initrd"), signal)
    await rm(tree, { recursive: true })
  },
})

const makeInitramfs = async (tree: string, release: string, file: string, signal: AbortSignal) => {
  const root = join(tree, "initramfs")
  for (const folder of ["bin", "dev", "sys", "modules", "system"]) await mkdir(join(root, folder), { recursive: true })
  await copyFile(join(tree, "usr/bin/busybox"), join(root, "bin/busybox"))
  await writeFile(join(root, "init"), await readFile(INIT))
  await chmod(join(root, "init"), 0o755)
  const drivers = join(tree, "usr/lib/modules", release, "kernel")
  const files = await readdir(drivers, { recursive: true })
  const order: string[] = []
  for (const module of MODULES) {
    const packed = files.find((name) => name.endsWith(`/${module}.ko.xz`))
    if (packed === undefined) continue
    await copyFile(join(drivers, packed), join(root, "modules", `${module}.ko.xz`))
    await runCommand("xz", ["--decompress", join(root, "modules", `${module}.ko.xz`)], { signal })
    order.push(`${module}.ko`)
  }
  await writeFile(join(root, "modules/order"), order.join("\n"))
  await runCommand(
    "sh",
    [
      "-c",
      'cd "$1" && find . | sort | "$3" cpio -o -H newc | gzip -9n > "$2"',
      "sh",
      root,
      file,
      join(tree, "usr/bin/busybox"),
    ],
    { signal },
  )
}
