import { invalidParameter } from "../group-names.ts"

/** 400: the pattern is malformed, or of a kind that is not supported here. */
export const refusePattern = (why: string) => invalidParameter(`Invalid filter pattern: ${why}.`)
