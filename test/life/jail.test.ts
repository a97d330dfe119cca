import { readFile, readlink } from "node:fs/promises"
import { TerminateMicrovmCommand } from "@aws-sdk/client-lambda-microvms"
import { expect, test } from "vitest"
import { inspectorApp } from "../fixtures/app.ts"
import { processesOf, startTestDaemon } from "../fixtures/daemon.ts"

test("A VMM process has a uid of its own, no capabilities, a system call filter and its own namespaces", async () => {
  await using daemon = await startTestDaemon()
  await daemon.build("inspector", inspectorApp)
  const vms = await Promise.all([1, 2].map(() => daemon.run({ image: "inspector" })))
  await Promise.all(vms.map(({ id }) => daemon.untilState(id, "RUNNING")))
  const pids = processesOf(daemon.hostId.slice(0, 8))
  expect(pids).toHaveLength(2)
  const uids = new Set<string>()
  for (const pid of pids) {
    const status = new Map(
      (await readFile(`/proc/${pid}/status`, "utf8")).split("\n").map((line) => line.split(":\t") as [string, string]),
    )
    const ids = (status.get("Uid") ?? "").split("\t")
    expect(new Set(ids).size, "real, effective, saved and file system uid").toBe(1)
    uids.add(ids[0] ?? "")
    for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) expect(status.get(set), set).toMatch(/^0+$/)
    expect(status.get("NoNewPrivs")).toBe("1")
    expect(status.get("Seccomp")).toBe("2")
    for (const kind of ["net", "mnt", "pid"])
      expect(await readlink(`/proc/${pid}/ns/${kind}`), kind).not.toBe(await readlink(`/proc/self/ns/${kind}`))
  }
  expect(uids.size).toBe(2)
  expect(uids).not.toContain("0")
  for (const { id, close } of vms) {
    close()
    await daemon.client.send(new TerminateMicrovmCommand({ microvmIdentifier: id }))
    await daemon.untilState(id, "TERMINATED")
  }
})
