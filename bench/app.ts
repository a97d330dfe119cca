import { sampleFiles } from "../src/cli/sample.ts"

const SERVER = `const { createServer } = require("node:http")
let count = 0
const kept = []
createServer((request, response) => {
  const mebibytes = /^\\/fill\\?mebibytes=(\\d+)$/.exec(request.url)?.[1]
  if (mebibytes !== undefined) kept.push(require("node:crypto").randomBytes(mebibytes * 2 ** 20))
  response.setHeader("content-type", "application/json")
  response.end(JSON.stringify({ count: ++count }))
}).listen(Number(process.env.PORT ?? 8080), "127.0.0.1")
`

/** The sample, with memory to fill; runc starts it by the port in its environment. */
export const benchApp = { ...sampleFiles, "server.js": SERVER }
