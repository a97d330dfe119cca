import { invalidParameter } from "../group-names.ts"

/** 400: a pattern that is none, or none that is known here. */
export const refusePattern = (why: string) => invalidParameter(`Invalid filter pattern: ${why}.`)
