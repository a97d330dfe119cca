/**
 * One request and its answer, whatever version of HTTP the client speaks. The passes between a client's connection and a guest's know
 * nothing else of either: proxy/entrance makes exchanges, proxy/guest carries them into a VM. What changes about one is asked by calls:
 * V8 keeps the accessors of a single object, and all that they see, until it collects the whole heap.
 */
import type { IncomingHttpHeaders } from "node:http"
import type { Readable } from "node:stream"
import type { TLSSocket } from "node:tls"
import type { RequestHead } from "./admission/request-head.ts"
import type { EdgeAnswer } from "./errors.ts"
import type { Protocol } from "./metrics.ts"

export interface Exchange {
  readonly requestId: string
  readonly head: RequestHead
  /** Its fields as they were sent, names and values in turn; HTTP/2's pseudo-headers too. */
  readonly fields: readonly string[]
  /** What its connection is encrypted with, in OpenSSL's words. */
  tls(): Tls
  readonly remoteAddress: string | undefined
  readonly remotePort: number | undefined
  readonly body: Readable
  /** Whether a body may follow: that much is known from the head. */
  readonly hasBody: boolean
  /** What came behind the body; empty until it has ended. */
  trailers(): IncomingHttpHeaders
  /** The client's side is closed, after the whole answer or before. */
  isOver(): boolean
  onOver(listener: () => void): void
  readonly protocol: Protocol
  /** Said in the answer's head: from then on nothing else can be answered. */
  status(): number | undefined
  /** The answer went out whole. */
  isAnsweredWhole(): boolean
  /** Tells a client that waits to be asked (`Expect: 100-continue`) that its body is wanted. */
  askForBody(): void
  /** Passes on an answer before the answer: 102, 103. */
  inform(status: number, headers: IncomingHttpHeaders): void
  /**
   * Passes a guest's answer on, as it comes; when either side breaks off, the other is broken off too, so that half an answer is never
   * taken for a whole one. Throws, with nothing said to the client, when it is no answer that HTTP knows.
   */
  answer(answer: GuestAnswer): void
  /** The edge answers, and no application; an answer that has begun is broken off. */
  answerInstead(answer: EdgeAnswer): void
  /** Ends it where it is, with whatever of it waits to be read. */
  breakOff(): void
  /** Lets what is left of a body go nowhere, once the answer is out. */
  discardBody(): void
}

export interface Tls {
  readonly version: string
  readonly cipherSuite: string
}

/** An answer of the application, its headers prepared for the client. */
export interface GuestAnswer {
  readonly status: number
  /** HTTP/1.1's words for it. */
  readonly statusMessage: string
  readonly headers: IncomingHttpHeaders
  /** As it comes; or all of it, where it came with the head. */
  readonly body: Readable | Buffer
  /** Nobody else holds a stream's chunks. */
  readonly isOwned: boolean
  /** Nothing of a body follows: the head was all. */
  readonly isBodiless: boolean
  trailers(): IncomingHttpHeaders
}

/** Of a connection of the edge's: `TLSv1.3`; nothing of one that is gone. */
export const tlsOf = (socket: TLSSocket | undefined): Tls => ({
  version: socket?.getProtocol() ?? "",
  cipherSuite: socket?.getCipher()?.name ?? "",
})

/** Once the client's side is closed. */
export const goneSignal = (exchange: Exchange): AbortSignal => {
  const gone = new AbortController()
  const abort = () => gone.abort(new Error("The client gave up"))
  if (exchange.isOver()) abort()
  else exchange.onOver(abort)
  return gone.signal
}
