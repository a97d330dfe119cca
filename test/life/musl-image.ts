import { execFileSync } from "node:child_process"
import { chmod, cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { unpackPackages } from "../fixtures/debian-packages.ts"
import { SERVER_C } from "./static-server.ts"

const TOOLS = ["sh", "cat", "echo", "id", "find", "ls", "mkdir", "mv", "rm", "sleep", "stat", "touch", "wc"]

/**
 * A root file system as small distributions have it: musl and busybox, no bash, no /tmp, a user of id 1000; and a web server of its own C
 * library. The caller removes it.
 */
export const makeMuslTree = async (): Promise<string> => {
  const tree = await mkdtemp(join(tmpdir(), "torpor-musl-"))
  // Its root is the image's.
  await chmod(tree, 0o755)
  const packages = join(tree, "packages")
  await unpackPackages(["musl", "musl-dev", "busybox-static"], packages)
  for (const directory of ["bin", "etc", "home/app", "lib", "usr/bin", "var/lib"])
    await mkdir(join(tree, directory), { recursive: true })
  const [libc = ""] = execFileSync("find", [packages, "-name", "libc.so"], { encoding: "utf8" }).split("\n")
  await cp(libc, join(tree, "lib/ld-musl-x86_64.so.1"))
  await cp(join(packages, "bin/busybox"), join(tree, "bin/busybox"))
  for (const tool of TOOLS) await symlink("busybox", join(tree, "bin", tool))
  await writeFile(join(tree, "etc/passwd"), "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n")
  await writeFile(join(tree, "etc/group"), "root:x:0:\napp:x:1000:\n")
  execFileSync("chown", ["1000:1000", join(tree, "home/app")])
  const objects = join(packages, "usr/lib/x86_64-linux-musl")
  await writeFile(join(packages, "server.c"), SERVER_C)
  const server = join(tree, "usr/bin/server")
  execFileSync("gcc", [
    "-O1",
    "-nostdinc",
    "-nostdlib",
    "-fno-stack-protector",
    "-U_FORTIFY_SOURCE",
    "-isystem",
    join(packages, "usr/include/x86_64-linux-musl"),
    "-o",
    server,
    "-Wl,-dynamic-linker,/lib/ld-musl-x86_64.so.1",
    join(objects, "crt1.o"),
    join(objects, "crti.o"),
    join(packages, "server.c"),
    `-L${dirname(libc)}`,
    "-lc",
    join(objects, "crtn.o"),
  ])
  await chmod(server, 0o755)
  await rm(packages, { recursive: true })
  return tree
}

/** A tree as a layer. Into a file: what goes into a pipe is padded with zeros, also behind what is compressed. */
export const toLayer = async (tree: string, compression = "gzip"): Promise<Buffer> => {
  const file = `${tree}.layer`
  execFileSync("bsdtar", ["-c", `--${compression}`, "-f", file, "-C", tree, "."])
  const layer = await readFile(file)
  await rm(file)
  return layer
}
