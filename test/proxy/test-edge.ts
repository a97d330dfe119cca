/** The edge over real TLS on a free port, with MicroVMs whose addresses are this machine's own: applications are servers of the test's. */
import { once } from "node:events"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { Agent, request as send, type RequestOptions } from "node:https"
import type { ClientRequest, IncomingMessage } from "node:http"
import { connect as connectPlain, type AddressInfo, type Server } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import { setTimeout as sleep } from "node:timers/promises"
import { connect, type TLSSocket } from "node:tls"
import type { Activity } from "../../proxy/activity.ts"
import { ensureCertificates } from "../../proxy/certificates.ts"
import { createEdgeMetrics } from "../../proxy/metrics.ts"
import { openEdge, type Edge, type EdgeLimits } from "../../proxy/server.ts"
import { Registry } from "prom-client"
import { parseConfig } from "../../src/config.ts"
import { createLog } from "../../src/log.ts"
import { openTokenKeys } from "../../src/tokens/keys.ts"
import { createTokens, type Tokens } from "../../src/tokens/tokens.ts"
import { createMemoryKeyStore } from "../tokens/memory-key-store.ts"

export interface EdgeVm {
  readonly id: string
  readonly name: string
  /** Its token for every port. */
  readonly token: string
  readonly activity: Activity
  isOpen: boolean
  /** `undefined` while it sleeps. */
  address: string | undefined
  /** What a request does while it sleeps. */
  awake: (signal: AbortSignal) => Promise<string>
}

export interface TestEdge extends AsyncDisposable {
  readonly edge: Edge
  readonly tokens: Tokens
  /** What it counts. */
  readonly metrics: Registry
  readonly ca: string
  readonly caFile: string
  /** The one that requests without a choice go to. */
  readonly vm: EdgeVm
  addVm(): Promise<EdgeVm>
  /** A request with a token for a port; not ended, when it has a body to come. */
  open(to: Place, more?: RequestOptions): ClientRequest
  /** A whole exchange. */
  get(to: Place, more?: RequestOptions): Promise<Answer>
  /** A connection on which the test writes what it likes. */
  raw(): Promise<RawConnection>
  /** The head of a request with token and port, for a raw connection. */
  head(line: string, port: number, ...fields: string[]): string
}

interface Place {
  readonly port: number
  readonly path?: string
  readonly vm?: EdgeVm
}

export interface RawConnection extends TLSSocket {
  /** Vanishes, without a word of TLS. */
  reset(): void
}

export interface Answer {
  readonly status: number
  readonly body: string
  readonly headers: IncomingMessage["headers"]
}

/** Of 10 ms: how long it takes says nothing but how busy the machine is. */
const MAX_TRIES = 6000

/** Opens one; disposing it closes it at once, and fails when it still counts a request as open. */
export const openTestEdge = async (limits: Partial<EdgeLimits> = {}): Promise<TestEdge> => {
  const directory = await mkdtemp(join(tmpdir(), "torpor-edge-"))
  const certificates = await ensureCertificates(directory, "localhost")
  const caFile = certificates.caFile ?? ""
  const ca = await readFile(caFile, "utf8")
  const tokens = createTokens(await openTokenKeys(createMemoryKeyStore()))
  const vms = new Map<string, EdgeVm>()
  const addVm = async (): Promise<EdgeVm> => {
    const id = crypto.randomUUID()
    const token = await tokens.mint({ vmId: id, ports: [{ from: 1, to: 65535 }], expirationSeconds: 600 })
    const vm: EdgeVm = {
      id,
      name: `${id}.vm.localhost`,
      token,
      activity: { open: 0, endless: 0, lastAt: 0 },
      isOpen: true,
      address: "127.0.0.1",
      awake: () => Promise.resolve("127.0.0.1"),
    }
    vms.set(vm.name, vm)
    return vm
  }
  const metrics = new Registry()
  const edge = await openEdge({
    router: {
      find(host) {
        const vm = vms.get(host)
        return (
          vm && {
            kind: "vm",
            vmId: vm.id,
            isOpen: vm.isOpen,
            activity: vm.activity,
            get address() {
              return vm.address
            },
            awake: (signal) => vm.awake(signal),
          }
        )
      },
    },
    tokens,
    ...certificates,
    ...parseConfig({}).edge,
    maxRequestsPerVm: 100,
    ...limits,
    address: "127.0.0.1",
    port: 0,
    metrics: createEdgeMetrics(metrics),
    log: createLog("silent"),
  })
  const first = await addVm()
  const agent = new Agent({ ca, keepAlive: true })

  const open: TestEdge["open"] = ({ port, path = "/", vm = first }, { headers, ...more } = {}) =>
    send(`https://${vm.name}:${edge.port}${path}`, {
      agent,
      headers: { "x-aws-proxy-auth": vm.token, "x-aws-proxy-port": port, ...(headers as Record<string, string>) },
      ...more,
    })
  return {
    edge,
    tokens,
    metrics,
    ca,
    caFile,
    vm: first,
    addVm,
    open,
    async get(to, more) {
      const request = open(to, more).end()
      const [response] = (await once(request, "response")) as [IncomingMessage]
      return { status: response.statusCode ?? 0, body: await text(response), headers: response.headers }
    },
    async raw() {
      const plain = connectPlain(edge.port, "127.0.0.1")
      const socket = connect({ socket: plain, servername: first.name, ca }).on("error", () => {})
      await once(socket, "secureConnect")
      return Object.assign(socket, { reset: () => plain.resetAndDestroy() })
    },
    head: (line, port, ...fields) =>
      [
        `${line} HTTP/1.1`,
        `Host: ${first.name}`,
        `X-aws-proxy-auth: ${first.token}`,
        `X-aws-proxy-port: ${port}`,
        ...fields,
        "\r\n",
      ].join("\r\n"),
    async [Symbol.asyncDispose]() {
      agent.destroy()
      await edge.close(0)
      await rm(directory, { recursive: true })
      const left = () => [...vms.values()].filter(({ activity }) => activity.open !== 0)
      for (let tries = 0; left().length > 0 && tries < MAX_TRIES; tries++) await sleep(10)
      for (const { name, activity } of left())
        throw new Error(`${name} has ${activity.open} requests open after all ended`)
    },
  }
}

/** Listens on a free port of loopback; resolves with the port. */
export const listen = async (server: Server): Promise<number> => {
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  return (server.address() as AddressInfo).port
}
