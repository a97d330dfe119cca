/** Where requests to function URLs go: hosts to functions and aliases, and by the invoker into them. */
import { and, eq } from "drizzle-orm"
import { LRUCache } from "lru-cache"
import type { Readable } from "node:stream"
import type { UrlCors } from "../../../src/db/function-values.ts"
import { functionPolicies, functions, functionUrls } from "../../../src/db/functions.ts"
import type { Database } from "../../vm-row.ts"
import type { FunctionChanges } from "../changes.ts"
import type { Invoker } from "../invoking/invoker.ts"
import { allowsUrl, type UrlCaller } from "./access.ts"

export interface UrlTarget {
  readonly kind: "function-url"
  readonly id: string
  readonly authType: "NONE" | "AWS_IAM"
  readonly isStreamed: boolean
  readonly cors: UrlCors | null
  allows(caller: UrlCaller | undefined): boolean
  invoke(
    event: { readonly requestId: string; readonly traceId: string; readonly payload: Buffer },
    signal: AbortSignal,
  ): Promise<{ readonly contentType: string; readonly body: Readable; readonly end: Promise<object | undefined> }>
}

export interface UrlRouter {
  owns(host: string): boolean
  find(host: string): Promise<UrlTarget | undefined> | undefined
}

export interface UrlRouterOptions {
  readonly db: Database
  readonly changes: Pick<FunctionChanges, "listen">
  readonly invoker: Pick<Invoker, "invoke">
  /** What follows a URL's first label: `lambda-url.localhost`. */
  readonly domain: string
}

const LABEL = /^[0-9a-z]{32}$/
const MAX_KNOWN = 10_000
/** How long another daemon's change may go unnoticed; this daemon's own changes are announced. */
const KNOWN_MS = 1000

interface Known {
  readonly target: Promise<UrlTarget | undefined>
  /** Whose it is isn't known before it is looked up. */
  mayBeOf(functionId: string): boolean
}

/** Routes by Host over the rows of function URLs. */
export const createUrlRouter = ({ db, changes, invoker, domain }: UrlRouterOptions): UrlRouter => {
  const known = new LRUCache<string, Known>({ max: MAX_KNOWN, ttl: KNOWN_MS })
  const suffix = `.${domain}`
  changes.listen((functionId) => {
    for (const [id, entry] of known.entries()) if (entry.mayBeOf(functionId)) known.delete(id)
  })

  const load = async (id: string, onOwner: (functionId: string) => void): Promise<UrlTarget | undefined> => {
    const [row] = await db
      .select({ url: functionUrls, owner: functions, policy: functionPolicies.statements })
      .from(functionUrls)
      .innerJoin(functions, eq(functions.id, functionUrls.functionId))
      .leftJoin(
        functionPolicies,
        and(
          eq(functionPolicies.functionId, functionUrls.functionId),
          eq(functionPolicies.qualifier, functionUrls.qualifier),
        ),
      )
      .where(eq(functionUrls.id, id))
    if (row === undefined) return undefined
    const { url, owner, policy } = row
    onOwner(owner.id)
    const { account, region, name } = owner
    const { authType, cors, qualifier } = url
    const guarded = { authType, account, region, statements: policy ?? [] }
    const isStreamed = url.invokeMode === "RESPONSE_STREAM"
    return {
      kind: "function-url",
      id,
      authType,
      isStreamed,
      cors,
      allows: (caller) => allowsUrl(guarded, caller),
      invoke: (event, signal) =>
        invoker.invoke(
          {
            ...event,
            target: { name, qualifier: qualifier === "" ? undefined : qualifier },
            scope: { account, region },
            mode: isStreamed ? "streaming" : "buffered",
          },
          signal,
        ),
    }
  }

  return {
    owns: (host) => host.endsWith(suffix),
    find(host) {
      const id = host.slice(0, -suffix.length)
      if (!LABEL.test(id)) return undefined
      const before = known.get(id)
      if (before !== undefined) return before.target
      let owner: string | undefined
      const entry: Known = {
        target: load(id, (functionId) => (owner = functionId)),
        mayBeOf: (functionId) => (owner ?? functionId) === functionId,
      }
      known.set(id, entry)
      const forget = () => {
        if (known.peek(id) === entry) known.delete(id)
      }
      // Guesses take nobody's place, and a database that was away is asked again.
      entry.target.then((target) => target ?? forget(), forget)
      return entry.target
    },
  }
}
