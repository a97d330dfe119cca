/** Inputs about what functions have beside their code: concurrency, URLs, events, tags (spec §2.1). */
import { boolean, integer, list, map, oneOf, optional, required, string, structure } from "../../shape.ts"
import { destinations, ofFunction, ofNamespaced, ofQualifier, ofUnqualified, page } from "../fields.ts"

export const functionInput = structure(ofFunction)
export const namespacedInput = structure(ofNamespaced)
export const reserveInput = structure({
  ...ofFunction,
  ReservedConcurrentExecutions: required(integer({ min: 0 })),
})

const eventConfig = {
  ...ofQualifier,
  MaximumRetryAttempts: optional(integer({ min: 0, max: 2 })),
  MaximumEventAgeInSeconds: optional(integer({ min: 60, max: 21_600 })),
  DestinationConfig: optional(destinations),
} as const
export const eventConfigInput = structure(eventConfig)
export const qualifiedInput = structure(ofQualifier)
export const eventConfigsInput = structure({ ...ofNamespaced, ...page(50) })

/** It becomes a part of an HTTP header. */
const headerText = (min: number, max: number) => string({ min, max, pattern: "[\\x20-\\x7e]*" })
const headers = list(headerText(0, 1024), { min: 0, max: 100 })
const cors = structure({
  AllowCredentials: optional(boolean()),
  AllowHeaders: optional(headers),
  AllowMethods: optional(list(headerText(0, 6), { min: 0, max: 6 })),
  AllowOrigins: optional(list(headerText(1, 253), { min: 0, max: 100 })),
  ExposeHeaders: optional(headers),
  MaxAge: optional(integer({ min: 0, max: 86_400 })),
})
const authType = oneOf("NONE", "AWS_IAM")
const invokeMode = oneOf("BUFFERED", "RESPONSE_STREAM")
const ofUrl = {
  ...ofFunction,
  Qualifier: optional(string({ min: 1, max: 128, pattern: "((?!^\\d+$)^[0-9a-zA-Z-_]+$)" }), "query"),
} as const

export const createUrlInput = structure({
  ...ofUrl,
  AuthType: required(authType),
  Cors: optional(cors),
  InvokeMode: optional(invokeMode),
})
export const updateUrlInput = structure({
  ...ofUrl,
  AuthType: optional(authType),
  Cors: optional(cors),
  InvokeMode: optional(invokeMode),
})
export const urlInput = structure(ofUrl)
export const urlsInput = structure({ ...ofFunction, ...page(50) })

export const recursionInput = structure(ofUnqualified)
export const setRecursionInput = structure({ ...ofUnqualified, RecursiveLoop: required(oneOf("Allow", "Terminate")) })
export const runtimeConfigInput = structure({
  ...ofQualifier,
  UpdateRuntimeOn: required(oneOf("Auto", "Manual", "FunctionUpdate")),
  RuntimeVersionArn: optional(
    string({
      min: 26,
      max: 2048,
      pattern: "arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}::runtime:.+",
    }),
  ),
})

const tagged = { Resource: required(string({ min: 1, max: 256 }), "path") } as const
const tagKey = string({ min: 1, max: 128 })
export const taggedInput = structure(tagged)
export const tagInput = structure({ ...tagged, Tags: required(map(tagKey, string({ min: 0, max: 256 }))) })
export const untagInput = structure({ ...tagged, TagKeys: required(list(tagKey), "query", "tagKeys") })
export const nothingInput = structure({})
export const signingListInput = structure(page(10_000))
