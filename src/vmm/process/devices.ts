/**
 * Device layout v1: what every guest has, in this order, in every boot and restore. A base made with it can be loaded by nothing else.
 * Six drives (system, root, four more), net, rng, and virtio-serial with the thaw and agent ports.
 */
import { GUEST } from "../../net/slot.ts"
import type { Drive, DriveFile } from "../vmm.ts"

export const DEVICE_LAYOUT = 1

export interface Drives {
  readonly systemDisk: string
  readonly rootDisk: readonly DriveFile[]
  readonly extraDrives: readonly Drive[]
  /** Behind every drive that isn't used. */
  readonly emptyDrive: string
}

const EXTRA_DRIVES = 4

/** The node name of the root disk's file at `index` of its chain. */
export const rootNode = (index: number) => `root-${index}`

/** The same of a further drive, by its number. */
export const driveNode = (drive: number, index: number) => `drive${drive}-${index}`

/** The root disk as QEMU's objects have it: the second device that was given no name. */
export const rootDevice = "/machine/peripheral-anon/device[1]"

/** The same of a further drive, by its number. */
export const driveDevice = (drive: number) => `/machine/peripheral-anon/device[${drive + 2}]`

/** Every drive in the layout's order. */
const layout = ({ systemDisk, rootDisk, extraDrives, emptyDrive }: Drives): (Drive & { name: string })[] => [
  { name: "system", chain: [{ path: systemDisk, format: "raw" }], readOnly: true },
  { name: "root", chain: rootDisk, readOnly: false },
  ...Array.from({ length: EXTRA_DRIVES }, (_, index) => ({
    name: `drive${index}`,
    ...(extraDrives[index] ?? { chain: [{ path: emptyDrive, format: "raw" as const }], readOnly: true }),
  })),
]

/** One file of a chain as a block node; the format is always said, a guest's bytes are never asked. */
export const blockNode = (name: string, { path, format }: DriveFile, readOnly: boolean, backing: string | null) => ({
  "node-name": name,
  driver: format,
  "read-only": readOnly,
  discard: "unmap",
  ...(format === "qcow2" ? { backing } : {}),
  file: { driver: "file", filename: path, "read-only": readOnly, locking: "off", discard: "unmap" },
})

/** The command line's part for drives, net, rng and serial ports; `fds` are listening sockets that QEMU was given. */
export const deviceArguments = (drives: Drives, tap: string, fds: { thaw: number; agent: number }): string[] => {
  const args: string[] = []
  for (const { name, chain, readOnly } of layout(drives)) {
    chain.forEach((file, index) => {
      const last = index === chain.length - 1
      const node = blockNode(`${name}-${index}`, file, readOnly || !last, index === 0 ? null : `${name}-${index - 1}`)
      args.push("-blockdev", JSON.stringify(node))
    })
    args.push("-device", `virtio-blk-device,drive=${name}-${chain.length - 1},serial=${name}`)
  }
  args.push("-netdev", `tap,id=net,ifname=${tap},script=no,downscript=no,vhost=off`)
  args.push("-device", `virtio-net-device,netdev=net,mac=${GUEST.mac},guest_announce=off`)
  args.push("-object", "rng-builtin,id=rng", "-device", "virtio-rng-device,rng=rng")
  args.push("-device", "virtio-serial-device,max_ports=3")
  for (const [port, fd] of Object.entries(fds)) {
    args.push("-chardev", `socket,id=${port},fd=${fd},server=on,wait=off`)
    args.push("-device", `virtserialport,chardev=${port},name=torpor.${port}`)
  }
  return args
}

/** Every file that a VM's process must be able to open, apart from what it may write. */
export const readOnlyFiles = (drives: Drives): string[] => [
  ...new Set(
    layout(drives).flatMap(({ chain, readOnly }) => (readOnly ? chain : chain.slice(0, -1)).map(({ path }) => path)),
  ),
]

/** The files that a VM's process writes. */
export const writtenFiles = (drives: Drives): string[] =>
  layout(drives).flatMap(({ chain, readOnly }) => (readOnly ? [] : chain.slice(-1).map(({ path }) => path)))
