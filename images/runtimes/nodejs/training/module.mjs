// A function that is none: what it does is what most do, so that a runtime which has run it has all of that behind it.
import { Buffer } from "node:buffer"
import { createHash, createHmac, randomBytes, randomUUID } from "node:crypto"
import { EventEmitter, once } from "node:events"
import { existsSync, lstatSync, readFileSync, realpathSync } from "node:fs"
import { readFile, stat } from "node:fs/promises"
import "node:https"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { Readable } from "node:stream"
import { fileURLToPath } from "node:url"
import { format, inspect, promisify } from "node:util"
import { gunzipSync, gzipSync } from "node:zlib"

// Asked for as this file is: a function may have one of that name.
const { Account, walk } = await import(`./training-parts.mjs${new URL(import.meta.url).search}`)
const started = Date.now()
let calls = 0
const seen = new Map()
const { REGION = "us-east-1", ...variables } = process.env
const pause = promisify(setTimeout)

/** What code looks like: its forms, and the shapes of its objects. */
const language = (event, ...rest) => {
  const { n = 0, missing = "none", nested: { deep } = { deep: [1, 2, 3] }, ...others } = event ?? {}
  const [first, , third = 3, ...more] = [...deep, ...rest]
  let total = first + third + more.length
  for (let index = 0; index < deep.length; index++) total += deep[index] ** 2 % 7
  for (const name in others) total -= others[name]?.length ?? 0
  for (const [key, value] of Object.entries({ a: 1, b: "two", [`c${n}`]: null })) seen.set(key, value)
  outer: while (total > 1000) {
    do total = Math.floor(total / 2)
    while (total % 3 === 0)
    if (total < 500 || !total) continue outer
    break
  }
  switch (missing) {
    case "none":
      total += missing.length
      break
    default:
      total |= 1
  }
  const account = new Account("one", { balance: total })
  account.deposit(10).deposit(5)
  try {
    account.withdraw(1e9)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    total += error.stack.split("\n").length
  } finally {
    delete others.n
  }
  const list = Array.from({ length: 20 }, (_, index) => ({ id: `id-${index % 7}`, index, isEven: index % 2 === 0 }))
  const byId = list.reduce((groups, one) => ({ ...groups, [one.id]: [...(groups[one.id] ?? []), one] }), {})
  const sorted = list
    .filter(({ isEven }) => isEven)
    .map(({ id, index }) => ({ id, index: -index }))
    .toSorted((one, other) => one.index - other.index)
  list.splice(2, 3)
  list.push(...sorted.slice(0, 2), Object.assign({}, account, { total }))
  const found = list.find(({ id }) => id === "id-3")
  const texts = [
    list.some(({ index }) => index > 5),
    found?.id,
    sorted.flatMap(({ id }) => [id]).join("-"),
    BigInt(7) ** 9n,
  ]
  const set = new Set([...walk(byId), ...Object.keys(variables)])
  return { total, account, texts: texts.map(String), size: set.size, has: set.has("id-1") && "total" in { total } }
}

/** What no object before it was like. */
const shapes = (unique) => {
  const made = { [unique]: 1, [`${unique}b`]: "two" }
  made[`${unique}c`] = [1.5]
  const parsed = JSON.parse(`{"${unique}d": {"${unique}e": [1, "x"]}, "${unique}f": true}`)
  const kinds = [
    [1, 2],
    [1.5, 2.5],
    ["a", {}],
    Array(3),
    new Uint8Array(2),
    new Float64Array(2),
    unique,
    Object("text"),
  ]
  let sum = 0
  for (const kind of kinds) for (let index = 0; index < kind.length; index++) sum += Number(kind[index]) || 0
  for (const name in made) sum += name.length
  const names = [...Object.keys({ ...made, ...parsed }), ...Object.getOwnPropertyNames(parsed)]
  return sum + names.length + Object.values(parsed).length
}

/** What it calls. */
const library = async (event) => {
  const text = JSON.stringify(
    { event, at: new Date(started).toISOString(), list: [1.5, -2, true, null, "ü€\n"] },
    null,
    2,
  )
  const copy = structuredClone(JSON.parse(text))
  const words = text
    .replaceAll(/[^\w-]+/g, " ")
    .trim()
    .split(/\s+/u)
  const [, year] = /^(?<year>\d{4})-/.exec(copy.at) ?? []
  const url = new URL(`https://user@example.com:8443/a/${encodeURIComponent("b c")}?x=1&y=2#z`)
  url.searchParams.append("n", Number.parseInt(year ?? "0", 10).toFixed(1))
  const bytes = Buffer.concat([Buffer.from(text, "utf8"), Buffer.from("AQID", "base64"), randomBytes(8)])
  const key = createHmac("sha256", randomUUID({ disableEntropyCache: true }))
    .update(bytes)
    .digest("base64url")
  const hash = createHash("sha256")
    .update(new Uint8Array(bytes.subarray(0, 8)))
    .digest("hex")
  const packed = gunzipSync(gzipSync(new TextDecoder().decode(new TextEncoder().encode(text))))
  const own = fileURLToPath(new URL(import.meta.url.replace(/\?.*/, "")))
  const [content, { size }] = await Promise.all([readFile(own, "utf8"), stat(own)])
  const isThere = existsSync(path.join(path.dirname(own), "none.json")) || readFileSync(own).length !== size
  const isFile = lstatSync(realpathSync(own)).isFile()
  const events = new EventEmitter()
  setImmediate(() => events.emit("done", words.length))
  const [count] = await once(events, "done", { signal: new AbortController().signal })
  let read = 0
  for await (const chunk of Readable.from([content, packed])) read += chunk.length
  const failed = await Promise.allSettled([Promise.reject(new TypeError("no", { cause: "training" })), pause(1)])
  queueMicrotask(() => (calls += read > 0 ? 1 : 0))
  return format("%s %d %j", key.slice(0, 4), count, {
    hash,
    isThere,
    isFile,
    tmp: tmpdir(),
    failed: inspect(failed, { depth: 1 }),
  })
}

export const handler = async (event, context) => {
  console.log("event", event, context.getRemainingTimeInMillis())
  const { total, ...found } = language(event, calls, ++calls)
  const told = `${await library(event)} ${shapes(`p${Date.now()}n${calls}`)}`
  console.error(`REGION ${REGION}`, { total, told: told.length })
  await new Promise((resolve) => setTimeout(resolve, 1))
  return { statusCode: 200, headers: { "content-type": "application/json" }, body: JSON.stringify({ event, ...found }) }
}
