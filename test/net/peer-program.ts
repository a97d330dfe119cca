/** Endpoints in a namespace of their own, one call a line: `[number, name, target]` in, `[number, answer]` out. Ends with its input. */
import { createInterface } from "node:readline"
import { createEndpoints, type Endpoints } from "./endpoints.ts"

export type Call = [id: number, name: keyof Endpoints, target: never]

const endpoints = createEndpoints()
createInterface({ input: process.stdin })
  .on("line", (line) => {
    const [id, name, target] = JSON.parse(line) as Call
    endpoints[name](target).then(
      (answer) => process.stdout.write(`${JSON.stringify([id, answer ?? null])}\n`),
      (error: unknown) => process.stdout.write(`${JSON.stringify([id, null, String(error)])}\n`),
    )
  })
  .once("close", () => process.exit())
process.stdout.write("[0]\n")
