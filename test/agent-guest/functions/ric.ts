/** What goes with AWS's own runtime client for Node. */

/** Its own client is native, and is built when it is installed; this one asks the same of the same API. */
export const CLIENT_OF_RIC = `
const http = require("node:http")
const [hostname, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":")
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
const ask = (method, path, body, headers = {}) => new Promise((resolve, reject) => {
  const asked = http.request({ hostname, port, agent, method, path: "/2018-06-01/runtime/invocation/" + path, headers }, (answer) => {
    let bodyJson = ""
    answer.setEncoding("utf8").on("data", (data) => (bodyJson += data)).on("end", () => resolve({ bodyJson, headers: answer.headers }))
  })
  asked.on("error", reject).end(body)
})
exports.initializeClient = () => {}
let told = Promise.resolve()
exports.next = () => told.then(() => ask("GET", "next"))
exports.done = (id, body) => void (told = ask("POST", id + "/response", body))
exports.error = (id, body, xray) => void (told = ask("POST", id + "/error", body, { "lambda-runtime-function-xray-error-cause": xray }))
`

export const HANDLER_OF_RIC = `
const handlers = {
  echo: async (event) => event,
  fail: async () => { throw new RangeError("asked to") },
}
exports.handler = (event) => handlers[event.do](event)
exports.stream = awslambda.streamifyResponse(async (event, stream) => {
  const response = awslambda.HttpResponseStream.from(stream, { statusCode: 201 })
  response.write("begun")
  if (event.fail) throw new RangeError("midway")
  response.end()
})
`
