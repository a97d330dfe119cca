import { takeCookie } from "../browser/cookie.ts"
import type { RequestHead } from "./request-head.ts"

/** What a request says about itself. */
export interface Claim {
  readonly token: string | undefined
  /** What a browser sends instead of a token, by itself: it counts only when there is none. */
  readonly cookie: string | undefined
  /** As sent; `undefined` leaves it to the host, the cookie, and the default. */
  readonly port: string | undefined
}

/** The claim of a request's headers; it takes our cookie out of them, whatever becomes of it. */
export const claimOf = ({ headers }: RequestHead): Claim => ({
  token: single(headers["x-aws-proxy-auth"]),
  cookie: takeCookie(headers),
  port: single(headers["x-aws-proxy-port"]),
})

const single = (value: string | string[] | undefined) => (Array.isArray(value) ? value.join(",") : value)
