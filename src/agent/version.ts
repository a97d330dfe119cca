/** What host and guest must agree on; apart from the schemas, so that the guest's bundle stays small. */
export const AGENT_PROTOCOL = 2

/** The longest line on the agent port, in bytes. */
export const EVENT_LINE_MAX = 4096

/** Entries of a directory in one answer. */
export const FILE_PAGE_MAX = 1000

/** Says before the first byte how many there will be. */
export const FILE_SIZE_HEADER = "torpor-file-size"

/** The trailer of a whole upload: without it one that was cut off would end as it does. */
export const COMPLETE_TRAILER = "torpor-complete"
