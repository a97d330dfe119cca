import { IncomingMessage, ServerResponse } from "node:http"
import { Socket } from "node:net"
import { getHeapSpaceStatistics } from "node:v8"
import { expect, test } from "vitest"
import { createHttp1Exchange } from "../../proxy/entrance/http1-exchange.ts"
import { createUpgradeExchange } from "../../proxy/entrance/upgrade-exchange.ts"

const [ROUNDS, PER_ROUND] = [20, 1000]
/** With accessors it is 10 MiB or more, by what an exchange sees. */
const MAX_GROWN_OLD_MIB = 4

const oldMiB = () =>
  (getHeapSpaceStatistics().find(({ space_name: name }) => name === "old_space")?.space_used_size ?? 0) / 1024 ** 2

test.each([
  ["a request", (request: IncomingMessage) => createHttp1Exchange(request, new ServerResponse(request), "id", false)],
  ["an upgrade", (request: IncomingMessage) => createUpgradeExchange(request, request.socket, "id", () => false)],
])("An exchange of %s that is over is collected without looking at the whole heap", (_, create) => {
  const socket = new Socket()
  const make = () => {
    for (let number = 0; number < PER_ROUND; number++) create(new IncomingMessage(socket))
  }
  // What is compiled at the first ones is not theirs.
  make()
  let grownOld = 0
  for (let round = 0; round < ROUNDS; round++) {
    const before = oldMiB()
    make()
    // It shrinks whenever the whole heap is collected.
    grownOld += Math.max(0, oldMiB() - before)
  }
  expect(grownOld).toBeLessThan(MAX_GROWN_OLD_MIB)
})
