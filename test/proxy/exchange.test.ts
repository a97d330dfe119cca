import { IncomingMessage, ServerResponse } from "node:http"
import { Socket } from "node:net"
import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { beforeAll, expect, test } from "vitest"
import { createHttp1Exchange } from "../../proxy/entrance/http1-exchange.ts"
import { createUpgradeExchange } from "../../proxy/entrance/upgrade-exchange.ts"

const [ROUNDS, PER_ROUND] = [11, 500]
/** With accessors it is 400 KiB or more, by what an exchange sees. */
const MAX_KEPT_KIB = 20

let collectYoung: () => void
beforeAll(() => {
  setFlagsFromString("--expose-gc")
  const gc: (options: { type: "minor" }) => void = runInNewContext("gc")
  collectYoung = () => {
    // What lives through the first is moved to the old ones by the second.
    gc({ type: "minor" })
    gc({ type: "minor" })
  }
})

const oldKiB = () =>
  (getHeapSpaceStatistics().find(({ space_name: name }) => name === "old_space")?.space_used_size ?? 0) / 1024

test.each([
  ["a request", (request: IncomingMessage) => createHttp1Exchange(request, new ServerResponse(request), "id", false)],
  ["an upgrade", (request: IncomingMessage) => createUpgradeExchange(request, request.socket, "id")],
])("An exchange of %s that is over is collected without looking at the whole heap", (_, create) => {
  const socket = new Socket()
  const make = () => {
    for (let number = 0; number < PER_ROUND; number++) create(new IncomingMessage(socket))
  }
  const kept = Array.from({ length: ROUNDS }, () => {
    const before = oldKiB()
    make()
    collectYoung()
    return oldKiB() - before
  })
  // Of all rounds the one in the middle: at one the whole heap may be collected, at the first ones code is compiled.
  expect(kept.toSorted((one, other) => one - other)[(ROUNDS - 1) / 2]).toBeLessThan(MAX_KEPT_KIB)
})
