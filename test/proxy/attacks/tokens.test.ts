/** Tokens that nobody signed, or not for this: each is taken by a verifier that only reads what a token says, and refused by the edge. */
import { createServer, type Server } from "node:http"
import { decodeJwt, decodeProtectedHeader, generateKeyPair, SignJWT, UnsecuredJWT } from "jose"
import { afterAll, beforeAll, expect, test } from "vitest"
import { listen, openTestEdge, type TestEdge } from "../test-edge.ts"

let edge: TestEdge
let app: Server
let port: number
let asked = 0
beforeAll(async () => {
  edge = await openTestEdge()
  app = createServer((_, response) => {
    asked++
    response.end()
  })
  port = await listen(app)
})
afterAll(async () => {
  await edge[Symbol.asyncDispose]()
  app.close()
})

/** As it is done by who has read half of a tutorial: the claims are all there, and not yet over. */
const naivelyAccepts = (token: string): boolean => {
  const claims = Buffer.from(token.split(".")[1] ?? "", "base64url").toString()
  const { sub, exp } = JSON.parse(claims) as { sub: string; exp: number }
  return sub === edge.vm.id && exp * 1000 > Date.now()
}
const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url")

test.for<[what: string, forge: (token: string) => string | Promise<string>]>([
  ["without a signature", (token) => new UnsecuredJWT(decodeJwt(token)).encode()],
  ["whose signature is left out", (token) => `${token.split(".").slice(0, 2).join(".")}.`],
  [
    "of another key, with our key's id",
    async (token) => {
      const { privateKey } = await generateKeyPair("EdDSA")
      return new SignJWT(decodeJwt(token))
        .setProtectedHeader({ ...decodeProtectedHeader(token), alg: "EdDSA" })
        .sign(privateKey)
    },
  ],
  [
    "that brings its own key",
    async (token) => {
      const { privateKey, publicKey } = await generateKeyPair("EdDSA", { extractable: true })
      const jwk = {
        kty: "OKP",
        crv: "Ed25519",
        x: Buffer.from(await crypto.subtle.exportKey("raw", publicKey)).toString("base64url"),
      }
      return new SignJWT(decodeJwt(token)).setProtectedHeader({ alg: "EdDSA", jwk }).sign(privateKey)
    },
  ],
  [
    "signed with a shared secret that is its key's id",
    (token) => {
      const { kid = "" } = decodeProtectedHeader(token)
      return new SignJWT(decodeJwt(token))
        .setProtectedHeader({ alg: "HS256", kid })
        .sign(Buffer.from(kid.padEnd(32, "0")))
    },
  ],
  [
    "with other claims under the same signature",
    (token) => {
      const [header, , signature] = token.split(".")
      return `${header}.${part({ ...decodeJwt(token), exp: Math.floor(Date.now() / 1000) + 9999 })}.${signature}`
    },
  ],
  ["with a dot too many", (token) => `${token}.`],
  ["as a bearer's", (token) => `Bearer ${token}`],
  [
    "of 9,000 characters",
    (token) => {
      const [header, , signature] = token.split(".")
      return `${header}.${part({ ...decodeJwt(token), x: "x".repeat(7000) })}.${signature}`
    },
  ],
])("A token %s is refused", async ([, forge]) => {
  const token = await forge(edge.vm.token)
  expect(naivelyAccepts(token)).toBe(true)
  const before = asked
  // Twice: what was refused isn't remembered as good.
  for (let tries = 0; tries < 2; tries++)
    expect(await edge.get({ port }, { headers: { "x-aws-proxy-auth": token } })).toMatchObject({
      status: 403,
      body: "Request missing authentication",
      headers: { "x-aws-proxy-error": "UNAUTHORIZED" },
    })
  expect(asked).toBe(before)
  expect(await edge.get({ port })).toMatchObject({ status: 200 })
})

test("Of two tokens neither is taken", async () => {
  const { status } = await edge.get({ port }, { headers: { "x-aws-proxy-auth": `${edge.vm.token}, ${edge.vm.token}` } })
  expect(status).toBe(403)
})
