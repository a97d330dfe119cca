/** What the disk of a Python that isn't the root disk's has beside its library: its program, and the library compiled. */
import { rm, symlink } from "node:fs/promises"
import { basename, join } from "node:path"
import { copyFrom, runIn, type Finishing } from "../debian.ts"

/** Nothing can be compiled into a drive that is only read. Of a file that never changes nobody asks whether it has. */
const COMPILE = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]

export const PYTHON_DISK: Finishing = {
  sources: () => Promise.resolve([new URL(import.meta.url)]),
  async finish({ tree, home, lang }, signal) {
    const name = basename(home)
    const [program, library] = [`usr/bin/${name}`, join(lang, "lib", name)]
    await copyFrom(tree, program, join(lang, "bin", name), signal)
    for (const alias of ["python", "python3"]) await symlink(name, join(lang, "bin", alias))
    await runIn(tree, [`/${program}`, ...COMPILE, `/${home}`], { signal })
    await rm(library, { recursive: true })
    await copyFrom(tree, home, library, signal)
  },
}
