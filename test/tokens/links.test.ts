import { beforeEach, expect, test } from "vitest"
import { openTokenKeys } from "../../src/tokens/keys.ts"
import { createLinks, type Destination, type Links } from "../../src/tokens/links.ts"
import { createTokens } from "../../src/tokens/tokens.ts"
import { createMemoryKeyStore, type MemoryKeyStore } from "./memory-key-store.ts"

const TO: Destination = { vmId: "11111111-1111-4111-8111-111111111111", port: 3000, path: "/", expirationSeconds: 3600 }
const START = Date.UTC(2026, 0, 1)
let now: number
let store: MemoryKeyStore
let links: Links

const clock = () => now
const open = async () => createLinks(await openTokenKeys(store, clock), clock)
beforeEach(async () => {
  now = START
  store = createMemoryKeyStore()
  links = await open()
})

test("A link is read as it was made, as often as one likes, and spent once", async () => {
  const { token, expiresAt } = await links.mint(TO)
  expect(expiresAt).toBe(START / 1000 + 60)
  const link = await links.read(token)
  expect(link).toEqual({ ...TO, id: expect.any(String) })
  if (link === undefined) return
  expect(await links.read(token)).toEqual(link)
  expect([links.spend(link), links.spend(link)]).toEqual([true, false])
  expect(await links.read(token)).toBeUndefined()
})

test("A link is over after a minute, whatever time it would have given", async () => {
  const { token } = await links.mint(TO)
  now += 59_999
  expect(await links.read(token)).toBeDefined()
  now += 1
  expect(await links.read(token)).toBeUndefined()
})

test("A link ends with its daemon: the next one has the key, and takes it for nothing", async () => {
  const { token } = await links.mint(TO)
  const next = await open()
  expect(await next.read(token)).toBeUndefined()
  expect(await next.read((await next.mint(TO)).token)).toBeDefined()
})

test("What is signed for another purpose is no link, and a link is no token", async () => {
  const tokens = createTokens(await openTokenKeys(store, clock), clock)
  for (const purpose of ["proxy", "cookie"] as const) {
    const token = await tokens.mint({ vmId: TO.vmId, ports: [{ from: 1, to: 65535 }], expirationSeconds: 60, purpose })
    expect(await tokens.links.read(token)).toBeUndefined()
    expect(await tokens.verify((await tokens.links.mint(TO)).token, purpose)).toBeUndefined()
  }
})

test("Of links that nobody uses the oldest make way", async () => {
  const first = await links.mint(TO)
  const second = await links.mint(TO)
  for (let made = 2; made < 10_001; made++) await links.mint(TO)
  expect(await links.read(first.token)).toBeUndefined()
  expect(await links.read(second.token)).toBeDefined()
})
