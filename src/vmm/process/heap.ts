/** QEMU's own memory: most of it is touched for the first time in a launch, and each time is a fault, which a host that is virtual itself pays dearly for. */
import { existsSync } from "node:fs"

/** What the C library reads first. It doesn't end what it has read with a zero in 2.36, Debian 12's, and so takes about half of its starts for a host without huge pages. */
const FILES = ["enabled", "hpage_pmd_size"].map((name) => `/sys/kernel/mm/transparent_hugepage/${name}`)

/** In huge pages, which need room from the start; in one place for all threads, and for large pieces too. */
const TUNABLES = { hugetlb: 1, arena_max: 1, top_pad: 8 * 1024 ** 2, mmap_threshold: 16 * 1024 ** 2 }

/** What a program needs for a heap of huge pages, where this host has them: files to read, and an environment in the C library's words. */
export const hugeHeap = () => ({
  files: FILES.every((file) => existsSync(file)) ? FILES : [],
  environment: {
    GLIBC_TUNABLES: Object.entries(TUNABLES)
      .map(([name, value]) => `glibc.malloc.${name}=${value}`)
      .join(":"),
  },
})
