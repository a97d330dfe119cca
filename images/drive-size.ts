/** The virtual size of each of device layout v1's four further drives: it may not differ between a snapshot and its restores. */
export const DRIVE_MIB = 10 * 1024
