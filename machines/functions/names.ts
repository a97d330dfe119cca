/** How functions, their versions and aliases, and layers are named. */
import { createHash } from "node:crypto"
import type { Scope } from "../resources.ts"

export const LATEST = "$LATEST"
/** What is published for a capacity provider, of which there are none: no function has it. */
export const LATEST_PUBLISHED = "$LATEST.PUBLISHED"

/** A function, or one version or alias of it; the API has parsed it from the forms that AWS takes. */
export interface FunctionReference {
  readonly name: string
  /** `undefined` when the request names none. */
  readonly qualifier: string | undefined
}

/** A function's ARN, or that of a version or alias of it. */
export const functionArn = (scope: Scope, name: string, qualifier?: string): string =>
  `arn:aws:lambda:${scope.region}:${scope.account}:function:${name}${qualifier === undefined || qualifier === "" ? "" : `:${qualifier}`}`

/** A layer's ARN, or that of a version of it. */
export const layerArn = (scope: Scope, name: string, number?: number): string =>
  `arn:aws:lambda:${scope.region}:${scope.account}:layer:${name}${number === undefined ? "" : `:${number}`}`

/** A version's number as callers name it. */
export const versionName = (number: number): string => (number === 0 ? LATEST : String(number))

/** A version's number, `undefined` when the qualifier names none. */
export const parseVersion = (qualifier: string): number | undefined =>
  qualifier === LATEST ? 0 : /^[1-9]\d{0,8}$/.test(qualifier) ? Number(qualifier) : undefined

/** The ARN of the one version that a runtime has here. */
export const runtimeVersionArn = (runtime: string, region: string): string =>
  `arn:aws:lambda:${region}::runtime:${createHash("sha256").update(`torpor ${runtime}`).digest("hex")}`

/** That version as logs name it: `python:3.13.v1`. */
export const runtimeVersionName = (runtime: string): string => {
  const [, language = runtime, number = ""] = /^([a-z]+)\.?(.*?)(?:\.x)?$/.exec(runtime) ?? []
  return `${language}:${number === "" ? "" : `${number}.`}v1`
}
