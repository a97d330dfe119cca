import { once } from "node:events"
import { TerminateMicrovmCommand } from "@aws-sdk/client-lambda-microvms"
import { expect } from "vitest"
import { WebSocket } from "ws"
import type { EndpointAnswer } from "../../../src/cli/endpoint.ts"
import { jsonOf } from "../../fixtures/answers.ts"
import type { TestDaemon } from "../../fixtures/daemon.ts"
import { buildOf } from "../build-result.ts"
import { contextOf } from "./context.ts"

export interface Application extends AsyncDisposable {
  /** What the build said. */
  readonly log: readonly string[]
  get(path: string, headers?: Readonly<Record<string, string>>): Promise<EndpointAnswer>
  /** The body of a path that answers 200 and JSON. */
  json(path: string): Promise<unknown>
  openWebSocket(path: string): Promise<WebSocket>
}

/** Builds a folder's Dockerfile and runs the image, whose port is reached over HTTPS; disposing it ends the MicroVM. */
export const startApplication = async (
  daemon: TestDaemon,
  folder: string,
  port: number,
  packages: Readonly<Record<string, Buffer>> = {},
): Promise<Application> => {
  const { reason, log } = await buildOf(daemon, folder, { ...(await contextOf(folder)), ...packages })
  expect(reason, log.join("\n")).toBeUndefined()
  const vm = await daemon.run({ image: folder })
  const reach = {
    "x-aws-proxy-auth": await daemon.token(vm.id, [{ port }]),
    "x-aws-proxy-port": String(port),
  }
  const get: Application["get"] = (path, headers = {}) => vm.get(path, { ...reach, ...headers })
  return {
    log,
    get,
    json: (path) => jsonOf(daemon, vm, path, reach),
    async openWebSocket(path) {
      const socket = new WebSocket(`wss://${vm.name}${path}`, { ca: daemon.ca, headers: reach })
      await once(socket, "open")
      return socket
    },
    async [Symbol.asyncDispose]() {
      vm.close()
      await daemon.client.send(new TerminateMicrovmCommand({ microvmIdentifier: vm.id }))
    },
  }
}
