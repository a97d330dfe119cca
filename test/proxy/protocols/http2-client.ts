/** A client of HTTP/2 at the edge, with the VM's token and a port. */
import { once } from "node:events"
import {
  connect,
  type ClientHttp2Stream,
  type ClientSessionRequestOptions,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from "node:http2"
import { text } from "node:stream/consumers"

export interface Http2Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
  readonly trailers: IncomingHttpHeaders
  /** Statuses of the answers before the answer. */
  readonly informed: readonly number[]
}

/** A MicroVM, as its user knows it. */
interface NamedVm {
  readonly name: string
  readonly token: string
}

interface Http2Edge {
  readonly edge: { readonly port: number }
  readonly ca: string
  readonly vm: NamedVm
}

export interface Http2Client extends AsyncDisposable {
  /** Begins a stream; to be ended when its options say that a body comes. */
  open(port: number, headers?: OutgoingHttpHeaders, options?: ClientSessionRequestOptions): ClientHttp2Stream
  get(port: number, headers?: OutgoingHttpHeaders): Promise<Http2Answer>
}

export const connectHttp2 = async ({ edge, ca, vm }: Http2Edge, to: NamedVm = vm): Promise<Http2Client> => {
  const session = connect(`https://${to.name}:${edge.port}`, { ca }).on("error", () => {})
  await once(session, "connect")
  const open: Http2Client["open"] = (port, headers = {}, options = {}) =>
    session.request(
      { "x-aws-proxy-auth": to.token, "x-aws-proxy-port": String(port), ":path": "/", ...headers },
      options,
    )
  return {
    open,
    get: (port, headers) => answerOf(open(port, headers)),
    async [Symbol.asyncDispose]() {
      if (session.destroyed) return
      session.destroy()
      await once(session, "close")
    },
  }
}

export const answerOf = async (stream: ClientHttp2Stream): Promise<Http2Answer> => {
  const informed: number[] = []
  let trailers: IncomingHttpHeaders = {}
  stream
    .on("headers", ({ ":status": status = 0 }) => void informed.push(status))
    .on("trailers", (late: IncomingHttpHeaders) => (trailers = late))
  const [headers] = (await once(stream, "response")) as [IncomingHttpHeaders]
  const body = await text(stream)
  return { status: Number(headers[":status"]), headers, body, trailers, informed }
}
