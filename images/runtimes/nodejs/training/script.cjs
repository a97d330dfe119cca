// As module.mjs, the other kind.
const { join } = require("node:path")

exports.handler = async (event) => {
  console.log("event", event)
  return { statusCode: 200, body: join("a", String(event.n)) }
}
