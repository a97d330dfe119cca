import { sampleFiles } from "../src/cli/sample.ts"

const SERVER = `const { createServer } = require("node:http")
let count = 0
const kept = []
createServer((request, response) => {
  const mebibytes = /^\\/fill\\?mebibytes=(\\d+)$/.exec(request.url)?.[1]
  if (mebibytes !== undefined) kept.push(require("node:crypto").randomBytes(mebibytes * 2 ** 20))
  response.setHeader("content-type", "application/json")
  response.end(JSON.stringify({ count: ++count }))
}).on("upgrade", (request, socket) => {
  const key = request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
  const accept = require("node:crypto").createHash("sha1").update(key).digest("base64")
  const head = ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Accept: " + accept]
  socket.setNoDelay(true).on("error", () => {}).write(head.join("\\r\\n") + "\\r\\n\\r\\n")
  // Short messages that come one at a time, masked with zeros.
  socket.on("data", (data) => socket.write(Buffer.concat([Buffer.from([data[0], data[1] & 127]), data.subarray(6)])))
}).listen(Number(process.env.PORT ?? 8080), "127.0.0.1")
`

/** The sample, with memory to fill and a WebSocket that echoes; runc starts it by the port in its environment. */
export const benchApp = { ...sampleFiles, "server.js": SERVER }
