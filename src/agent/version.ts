/** What host and guest must agree on; apart from the schemas, so that the guest's bundle stays small. */
export const AGENT_PROTOCOL = 1

/** The longest line on the agent port, in bytes. */
export const EVENT_LINE_MAX = 4096
