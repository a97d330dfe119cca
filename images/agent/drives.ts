/** The drives beside the image's own disk: contexts, other stages, images' layers and caches, each mounted where its number says. */
import { mkdir } from "node:fs/promises"
import type { DrivePlace, DriveSpec } from "../../src/agent/protocol.ts"
import { mount, MOUNT } from "./mount.ts"
import { run } from "./run.ts"

export const driveDevice = (drive: number) => `/dev/torpor/drive${drive}`

/** A directory of a drive that is mounted. */
export const pathOnDrive = ({ drive, path }: DrivePlace) => `/tmp/drives/${drive}${path}`

/** Mounts the file system of a drive. Of what it holds nothing is run and no device is one. */
export const mountDrive = async ({ drive, isReadOnly }: DriveSpec): Promise<void> => {
  const at = pathOnDrive({ drive, path: "" })
  await mkdir(at, { recursive: true })
  const flags = [MOUNT.noDevices, MOUNT.noSetuid, MOUNT.noAccessTimes]
  if (isReadOnly) mount(driveDevice(drive), at, "ext4", [...flags, MOUNT.readOnly])
  else mount(driveDevice(drive), at, "ext4", flags, "noinit_itable")
}

/** All that was written is on the drive when it resolves, and its file system is whole. */
export const unmountDrive = (drive: number): Promise<string> => run("umount", [pathOnDrive({ drive, path: "" })])
