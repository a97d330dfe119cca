import { execFile } from "node:child_process"
import { mkdtemp, rm, rmdir } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { expect, onTestFinished, test } from "vitest"
import { compileC } from "../../images/compile-c.ts"
import { nodeBinary } from "../../images/node-binary.ts"

/** A root of its own, with all that this machine has, the agent's library, and the same program once more on another file system. */
const SCRIPT = `
root=$1 library=$2 node=$3 program=$4
mount -t tmpfs none "$root"
for entry in /*; do
  if [ -L "$entry" ]; then cp -P "$entry" "$root/"
  elif [ -d "$entry" ] && [ "$entry" != /proc ]; then mkdir "$root$entry" && mount --rbind "$entry" "$root$entry"
  fi
done
mkdir "$root/proc"
mount -t proc none "$root/proc"
cp "$library" "$root/code.node"
cp "$node" "$root/application"
exec chroot "$root" "$node" "$program" /application`
const NAMESPACE = ["--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "sh", "-euc", SCRIPT, "sh"]

test("The agent's code is in the pages of an application that runs the same program while it is asked to be, and only then", async () => {
  const directory = await mkdtemp(join(tmpdir(), "torpor-code-"))
  onTestFinished(() => rm(directory, { recursive: true }))
  const library = join(directory, "code.node")
  const source = new URL("../../images/system/code.c", import.meta.url)
  await compileC(source, library, ["-shared", "-fPIC"], AbortSignal.timeout(60_000))
  const root = await mkdtemp(join(tmpdir(), "torpor-root-"))
  // What is mounted there is in the program's namespace alone.
  onTestFinished(() => rmdir(root))
  const program = fileURLToPath(new URL("own-code-program.ts", import.meta.url))
  const { stdout } = await promisify(execFile)("unshare", [...NAMESPACE, root, library, nodeBinary().path, program])
  const { own, theirs, ...said } = JSON.parse(stdout) as { own: string[]; theirs: string }
  expect(own).not.toContain(theirs)
  expect(said).toEqual({ within: [theirs], after: own, isAnothers: false, none: null })
})
