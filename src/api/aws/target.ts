import { ServiceError } from "../../errors.ts"

/** A request's target as it was sent: what is verified is what is used, so nothing here is normalised by a URL parser. */
export interface Target {
  /** Still percent-encoded, without the query. */
  readonly path: string
  /** Decoded, in the order sent. */
  readonly query: readonly (readonly [name: string, value: string])[]
}

const invalidUri = () => new ServiceError("InvalidURI", 400, "Couldn't parse the specified URI.")

/** Decodes one percent-encoded piece; refuses what isn't UTF-8. */
export const decodePiece = (piece: string): string => {
  try {
    return decodeURIComponent(piece)
  } catch {
    throw invalidUri()
  }
}

/** Parses the request line's target (origin or absolute form). */
export const parseTarget = (raw: string): Target => {
  const origin = /^https?:\/\/[^/?#]*/i.exec(raw)?.[0] ?? ""
  const rest = raw.slice(origin.length)
  const mark = rest.indexOf("?")
  const path = mark === -1 ? rest : rest.slice(0, mark)
  const pairs =
    mark === -1
      ? []
      : rest
          .slice(mark + 1)
          .split("&")
          .filter((pair) => pair !== "")
  return {
    path: path === "" ? "/" : path,
    query: pairs.map((pair) => {
      const equals = pair.indexOf("=")
      return equals === -1
        ? ([decodePiece(pair), ""] as const)
        : ([decodePiece(pair.slice(0, equals)), decodePiece(pair.slice(equals + 1))] as const)
    }),
  }
}

/** The first value of a query member, `undefined` when it isn't there. */
export const queryValue = (target: Target, name: string): string | undefined =>
  target.query.find(([candidate]) => candidate === name)?.[1]
