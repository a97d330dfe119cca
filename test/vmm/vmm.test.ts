import { describeVmm } from "./conformance.ts"
import { createVmm } from "./qemu-under-test.ts"

describeVmm("QEMU", createVmm, new URL("qemu-under-test.ts", import.meta.url).href)
