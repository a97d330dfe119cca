/** Other files behind the drives of a process whose guest doesn't use them and knows nothing of those that were there, or which is loaded with nothing. */
import { blockNode, driveDevice, driveNode, rootDevice, rootNode } from "../process/devices.ts"
import type { Qmp } from "./qmp.ts"
import type { Drive, DriveFile } from "../vmm.ts"

export interface DriveChange {
  readonly commands: readonly (readonly [name: string, given: Record<string, unknown>])[]
  /** The file that is written from here on, and the one that is in use no more. */
  readonly written?: { readonly now: string; readonly before: string }
}

/** The root disk's top file, over so many that stay. */
export const rootTopChange = (below: number, before: DriveFile, now: DriveFile): DriveChange[] =>
  before.path === now.path
    ? []
    : [
        topChange(rootDevice, rootNode(below), blockNode(rootNode(below + 1), now, false, rootNode(below - 1)), [
          before,
          now,
        ]),
      ]

/** All files of a further drive. Throws where one drive is no replacement for the other. */
export const driveChanges = (drive: number, before: Drive | undefined, now: Drive): DriveChange[] => {
  const [lowest, top, ...more] = now.chain
  if (before?.readOnly !== now.readOnly || before.chain.length !== now.chain.length || more.length > 0)
    throw new Error(`Drive ${drive} cannot become another`)
  const [lowestBefore, topBefore] = before.chain
  const changes: DriveChange[] = []
  if (lowest !== undefined && lowest.path !== lowestBefore?.path) changes.push(lowestChange(drive, lowest.path))
  if (top !== undefined && topBefore !== undefined && top.path !== topBefore.path) {
    const node = blockNode(driveNode(drive, 2), top, now.readOnly, driveNode(drive, 0))
    changes.push(topChange(driveDevice(drive), driveNode(drive, 1), node, [topBefore, top]))
  }
  return changes
}

/** The lowest file of a further drive: a raw one that is read. Its node stays. */
export const lowestChange = (drive: number, path: string): DriveChange => {
  const node = driveNode(drive, 0)
  const file = `swapped-${node}`
  const { file: content, ...format } = blockNode(node, { path, format: "raw" }, true, null)
  return {
    commands: [
      ["blockdev-add", { "node-name": file, ...content }],
      ["blockdev-reopen", { options: [{ ...format, file }] }],
    ],
  }
}

/** The device goes over to another node: what a format keeps of its file in memory is that file's. */
const topChange = (
  device: string,
  old: string,
  node: { readonly "node-name": string },
  [before, now]: readonly [DriveFile, DriveFile],
): DriveChange => ({
  commands: [
    ["blockdev-add", node],
    ["qom-set", { path: device, property: "drive", value: node["node-name"] }],
    ["blockdev-del", { "node-name": old }],
  ],
  written: { now: now.path, before: before.path },
})

/** One after the other, as QEMU does what it is told. */
export const changeDrives = async (qmp: Pick<Qmp, "execute">, changes: readonly DriveChange[]): Promise<void> => {
  await Promise.all(changes.flatMap(({ commands }) => commands.map(([name, given]) => qmp.execute(name, given))))
}
