import { chmod, cp, mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { GUEST } from "../../src/net/slot.ts"
import { readSources, type Recipe } from "../artifact.ts"
import { compileC } from "../compile-c.ts"
import { makeExt4 } from "../ext4.ts"
import { nodeBinary } from "../node-binary.ts"
import { installPackages, type Debian } from "../packages.ts"
import { bundleAgent } from "./agent-bundle.ts"

/**
 * What the agent needs beside Node: a container runtime, an unpacker that knows what archives try, mkfs, and busybox for the rest;
 * libc-bin brings the UTF-8 locale, without which the unpacker refuses every name that isn't ASCII.
 */
const PACKAGES = [
  "libc6",
  "libc-bin",
  "libstdc++6",
  "libgcc-s1",
  "crun",
  "libarchive-tools",
  "e2fsprogs",
  "busybox-static",
]
const INIT = new URL("init", import.meta.url)
const THAW = new URL("../thaw/thaw.c", import.meta.url)
const NODE_API = new URL("node-api.h", import.meta.url)
const MOUNT = new URL("mount.c", import.meta.url)
const CODE = new URL("code.c", import.meta.url)
/** Where busybox's tools are linked, since nothing of a package runs here. */
const TOOLS = [
  "sh",
  "mount",
  "umount",
  "mkdir",
  "ln",
  "cat",
  "touch",
  "chmod",
  "ip",
  "poweroff",
  "find",
  "fsfreeze",
  "sync",
  "rm",
  "kill",
]

/** `disk`: the read-only file system that the guest starts from, with the agent, the thaw helper and what they need. */
export const systemRecipe = async (debian: Debian): Promise<Recipe> => {
  const { content: agent } = await bundleAgent()
  const node = nodeBinary()
  return {
    kind: "system",
    ingredients: [
      JSON.stringify(debian),
      PACKAGES.join(),
      TOOLS.join(),
      node.version,
      JSON.stringify(GUEST),
      agent,
      ...(await readSources(INIT, THAW, NODE_API, MOUNT, CODE, new URL(import.meta.url))),
    ],
    async build(directory, signal) {
      const tree = join(directory, "tree")
      await installPackages(debian, "extract", PACKAGES, tree, [], signal)
      for (const unused of [
        "usr/share",
        "usr/lib/x86_64-linux-gnu/libcrun.a",
        "usr/lib/x86_64-linux-gnu/gconv",
        "var",
        "etc",
      ])
        await rm(join(tree, unused), { recursive: true, force: true })
      for (const folder of ["bin", "sbin", "lib", "lib64"]) {
        await rm(join(tree, folder), { recursive: true, force: true })
        await symlink(`usr/${folder}`, join(tree, folder))
      }
      for (const folder of ["proc", "sys", "dev", "run", "tmp", "image", "etc"])
        await mkdir(join(tree, folder), { recursive: true })
      await cp(node.path, join(tree, "usr/bin/node"))
      for (const tool of TOOLS) await symlink("busybox", join(tree, "usr/bin", tool)).catch(ignoreExisting)
      // The agent's own questions go where the application's go.
      await symlink("/run/torpor/resolv.conf", join(tree, "etc/resolv.conf"))
      await writeFile(join(tree, "agent.mjs"), agent)
      await writeFile(join(tree, "init"), fillIn(await readFile(INIT, "utf8")))
      await chmod(join(tree, "init"), 0o755)
      await compileC(THAW, join(tree, "thaw"), ["-static"], signal)
      for (const [source, library] of [
        [MOUNT, "mount.node"],
        [CODE, "code.node"],
      ] as const)
        await compileC(source, join(tree, library), ["-shared", "-fPIC"], signal)
      await makeExt4(join(directory, "disk.raw"), { tree, sizeMiB: 512, label: "system" }, signal)
      await rm(tree, { recursive: true })
    },
  }
}

const fillIn = (text: string) =>
  text
    .replaceAll("@ADDRESS@", GUEST.address)
    .replaceAll("@PREFIX@", String(GUEST.prefix))
    .replaceAll("@GATEWAY@", GUEST.gateway)
    .replaceAll("@GATEWAY_MAC@", GUEST.gatewayMac)
    .replaceAll("@RESOLVER@", GUEST.resolver)

const ignoreExisting = (error: NodeJS.ErrnoException) => {
  if (error.code !== "EEXIST") throw error
}
