// As module.mjs, the other kind. It requires what is Node's alone: where a function has its files, Node remembers what it has looked for.
"use strict"

const fs = require("node:fs")
const { join, resolve } = require("node:path")
const util = require("node:util")

var count = 0

function sum() {
  return Array.prototype.slice.call(arguments).reduce(function (total, value) {
    return total + value
  }, 0)
}

function toBody(event) {
  var names = Object.keys(event)
  for (var index = 0; index < names.length; index++) count += names[index].length
  return join("a", String(event.n), util.format("%s", sum(count, arguments.length)))
}

exports.handler = async (event) => {
  console.log("event", event)
  const isThere = fs.statSync(resolve(__dirname, "none"), { throwIfNoEntry: false }) !== undefined
  const body = toBody(event)
  console.error("told", { length: body.length })
  return { statusCode: isThere ? 500 : 200, body }
}
