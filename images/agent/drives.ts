/** The drives beside the image's own disk: contexts, other stages, images' layers and caches, each mounted where its number says. */
import { closeSync, constants, mkdirSync, openSync } from "node:fs"
import type { DrivePlace, DriveSpec } from "../../src/agent/protocol.ts"
import { mount, MOUNT, unmount } from "./mount.ts"

export const driveDevice = (drive: number) => `/dev/torpor/drive${drive}`

/** A directory of a drive that is mounted. */
export const pathOnDrive = ({ drive, path }: DrivePlace) => `/tmp/drives/${drive}${path}`

/** Mounts the file system of a drive. Of what it holds nothing is run and no device is one. */
export const mountDrive = ({ drive, isReadOnly }: DriveSpec): void => {
  const at = pathOnDrive({ drive, path: "" })
  mkdirSync(at, { recursive: true })
  const flags = [MOUNT.noDevices, MOUNT.noSetuid, MOUNT.noAccessTimes]
  if (isReadOnly) mount(driveDevice(drive), at, "ext4", [...flags, MOUNT.readOnly])
  else mount(driveDevice(drive), at, "ext4", flags, "noinit_itable")
}

/** All that was written is on the drive when it resolves, its file system is whole, and nothing of it is known any more. */
export const unmountDrive = (drive: number): void => {
  unmount(pathOnDrive({ drive, path: "" }))
  // Refused while it is mounted anywhere, in a namespace that we don't see too.
  closeSync(openSync(driveDevice(drive), constants.O_RDONLY | constants.O_EXCL))
}
