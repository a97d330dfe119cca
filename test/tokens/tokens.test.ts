import { createHmac, createPrivateKey, randomUUID, sign } from "node:crypto"
import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import fc from "fast-check"
import { importJWK, SignJWT, type JWTPayload } from "jose"
import { beforeAll, beforeEach, describe, expect, test } from "vitest"
import { openTokenKeys, type StoredKey } from "../../src/tokens/keys.ts"
import { allowsPort, createTokens, type Grant, type Tokens } from "../../src/tokens/tokens.ts"
import { createMemoryKeyStore } from "./memory-key-store.ts"

const VM = "11111111-1111-4111-8111-111111111111"
const WEB = [{ from: 8080, to: 8080 }]
const START = Date.UTC(2026, 0, 1)
let own: StoredKey
let foreign: StoredKey
let now: number
let tokens: Tokens

const freshKey = async (): Promise<StoredKey> => {
  const store = createMemoryKeyStore()
  await openTokenKeys(store, () => START)
  const [key] = await store.load()
  return key as StoredKey
}
const clock = () => now
const openTokens = async (...kept: StoredKey[]) =>
  createTokens(await openTokenKeys(createMemoryKeyStore(...kept), clock), clock)

beforeAll(async () => {
  own = await freshKey()
  foreign = await freshKey()
})
beforeEach(async () => {
  now = START
  tokens = await openTokens(own)
})

const mint = (expirationSeconds = 60) => tokens.mint({ vmId: VM, ports: WEB, expirationSeconds })
const base64url = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url")

/** What we would mint, but for what is given. */
const signed = async ({
  header,
  claims,
  key,
}: { header?: Record<string, unknown>; claims?: JWTPayload; key?: StoredKey } = {}) =>
  new SignJWT({
    iss: "torpor",
    sub: VM,
    iat: START / 1000,
    exp: START / 1000 + 60,
    purpose: "proxy",
    ports: [[8080, 8080]],
    ...claims,
  })
    .setProtectedHeader({ alg: "EdDSA", kid: own.kid, ...header })
    .sign(await importJWK((key ?? own).privateJwk, "EdDSA"))

test("What is minted is granted: the MicroVM, its ports, and until when", async () => {
  const ports = [
    { from: 1, to: 1023 },
    { from: 8080, to: 8080 },
  ]
  const token = await tokens.mint({ vmId: VM, ports, expirationSeconds: 60 })
  const grant = { token, vmId: VM, ports, expiresAt: START / 1000 + 60 }
  expect(await tokens.verify(token)).toEqual(grant)
  expect(await tokens.verify(token), "from the cache").toEqual(grant)
})

test("The claims that the other tests bend are those of a good token", async () => {
  expect(await tokens.verify(await signed())).toMatchObject({ vmId: VM, ports: WEB, expiresAt: START / 1000 + 60 })
})

test("A token names its own MicroVM and no other", async () => {
  const other = randomUUID()
  const [first, second] = await Promise.all(
    [VM, other].map((vmId) => tokens.mint({ vmId, ports: WEB, expirationSeconds: 60 })),
  )
  expect(await tokens.verify(first ?? "")).toMatchObject({ vmId: VM })
  expect(await tokens.verify(second ?? "")).toMatchObject({ vmId: other })
})

describe("A token whose time is over", () => {
  test("is expired, to the second", async () => {
    const token = await mint(60)
    now = START + 59_999
    expect(await (await openTokens(own)).verify(token)).toMatchObject({ vmId: VM })
    now = START + 60_000
    expect(await (await openTokens(own)).verify(token)).toBe("expired")
  })

  test("is expired also where it was verified while it was good, and stays so", async () => {
    const token = await mint(60)
    expect(await tokens.verify(token)).toMatchObject({ vmId: VM })
    now = START + 60_000
    expect(await tokens.verify(token)).toBe("expired")
    expect(await tokens.verify(token)).toBe("expired")
  })

  test("is never kept: were its time to come again, it is its signature that is looked at", async () => {
    const token = await mint(60)
    const altered = `${token.slice(0, -8)}AAAAAAAA`
    now = START + 60_000
    expect(await tokens.verify(altered)).toBeUndefined()
    expect(await tokens.verify(token)).toBe("expired")
    now = START
    expect(await tokens.verify(altered)).toBeUndefined()
    expect(await tokens.verify(token)).toMatchObject({ vmId: VM })
  })

  test("is refused as forged, and not as expired, when it was never ours", async () => {
    expect(await tokens.verify(await signed({ key: foreign, claims: { exp: START / 1000 - 1 } }))).toBeUndefined()
  })
})

describe("A forged token grants nothing, however often it is shown", () => {
  const refuse = async (token: string) => {
    expect(await tokens.verify(token)).toBeUndefined()
    expect(await tokens.verify(token), "the second time").toBeUndefined()
  }
  const claims = () =>
    base64url({ iss: "torpor", sub: VM, exp: START / 1000 + 60, purpose: "proxy", ports: [[1, 65535]] })

  test("no token at all", async () => {
    for (const token of ["", ".", "..", "a.b.c", "Bearer x", "null", "\0"]) await refuse(token)
  })

  test("signed with nothing", async () => {
    for (const alg of ["none", "None", "NONE", "nOnE"]) {
      await refuse(`${base64url({ alg, kid: own.kid })}.${claims()}.`)
      await refuse(`${base64url({ alg, kid: own.kid })}.${claims()}`)
    }
  })

  test("signed by HMAC with the public key as its secret", async () => {
    const publicKey = Buffer.from(own.publicJwk.x ?? "", "base64url")
    for (const secret of [publicKey, Buffer.from(own.publicJwk.x ?? ""), Buffer.from(JSON.stringify(own.publicJwk))]) {
      const text = `${base64url({ alg: "HS256", kid: own.kid })}.${claims()}`
      await refuse(`${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`)
    }
  })

  test("signed with another key, under our key's name, under its own, under none, or with itself in the header", async () => {
    await refuse(await signed({ key: foreign }))
    await refuse(await signed({ key: foreign, header: { kid: foreign.kid } }))
    await refuse(await signed({ key: foreign, header: { kid: undefined } }))
    await refuse(await signed({ key: foreign, header: { jwk: foreign.publicJwk } }))
  })

  test("that says in its header where its key is: nobody looks there", async () => {
    let asked = 0
    const server = createServer((_, response) => {
      asked++
      response.end(JSON.stringify({ keys: [{ ...foreign.publicJwk, kid: foreign.kid }] }))
    })
    server.listen(0, "127.0.0.1")
    await once(server, "listening")
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`
    for (const kid of [foreign.kid, own.kid])
      for (const header of [
        { jku: url },
        { x5u: url },
        { x5c: [foreign.publicJwk.x] },
        { jku: url, jwk: foreign.publicJwk },
      ])
        await refuse(await signed({ key: foreign, header: { kid, ...header } }))
    expect(asked).toBe(0)
    server.close()
  })

  test.for(["HS256", "HS512", "RS256", "PS256", "ES256", "Ed25519", "Ed448", "eddsa", "dir", "A256GCM", "", null])(
    "signed with our key, but by an algorithm that says it is %s",
    async (alg) => {
      const text = `${base64url({ alg, kid: own.kid })}.${claims()}`
      const key = createPrivateKey({ key: { ...own.privateJwk }, format: "jwk" })
      await refuse(`${text}.${sign(null, Buffer.from(text), key).toString("base64url")}`)
    },
  )

  test("that is a good one with anything before, behind or within it that a decoder overlooks", async () => {
    const token = await mint()
    const [header = "", body = "", signature = ""] = token.split(".")
    const lastBits = (letter: string) => {
      const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
      return letters[letters.indexOf(letter) + 1] ?? ""
    }
    for (const written of [
      ...["=", "==", ".", "..", ".e30", " ", "\n", "\t", "\0", "\u00a0", "\ufeff"].flatMap((more) => [
        token + more,
        more + token,
      ]),
      `Bearer ${token}`,
      `${header}=.${body}.${signature}`,
      `${header}.${body}.\n${signature}`,
      `${header}.${body}.${signature.slice(0, 40)} ${signature.slice(40)}`,
      `${header}.${body}.${signature.slice(0, -1)}${lastBits(signature.slice(-1))}`,
      `${header}.${body}.${Buffer.from(signature, "base64url").toString("base64")}`,
      `${header}..${body}.${signature}`,
      `${header}.${body}.${signature}.${signature}`,
      JSON.stringify({ protected: header, payload: body, signature }),
    ])
      await refuse(written)
    expect(await tokens.verify(token)).toMatchObject({ vmId: VM })
  })

  test("signed with our key, but under no name, another's, or one that an object has by nature", async () => {
    for (const kid of [undefined, "", foreign.kid, "__proto__", "constructor", "../key"])
      await refuse(await signed({ header: { kid } }))
  })

  test("with an extension that we don't know and may not ignore", async () => {
    const text = `${base64url({ alg: "EdDSA", kid: own.kid, crit: ["until"], until: 1 })}.${claims()}`
    const key = createPrivateKey({ key: { ...own.privateJwk }, format: "jwk" })
    await refuse(`${text}.${sign(null, Buffer.from(text), key).toString("base64url")}`)
  })

  test("with any part of a good one's altered", async () => {
    const token = await mint()
    await fc.assert(
      fc.asyncProperty(
        fc.nat(token.length - 1),
        fc.constantFrom("A", "Z", "a", "z", "0", "9", "-", "_", "."),
        async (at, letter) => {
          const altered = token.slice(0, at) + letter + token.slice(at + 1)
          // The last letter of a part carries bits that mean nothing.
          const means = (text: string) =>
            text
              .split(".")
              .map((part) => Buffer.from(part, "base64url").toString("hex"))
              .join()
          fc.pre(means(altered) !== means(token))
          expect(await tokens.verify(altered)).toBeUndefined()
        },
      ),
    )
    expect(await tokens.verify(token)).toMatchObject({ vmId: VM })
  })

  test("made of two good ones", async () => {
    const [mine, other] = await Promise.all([
      mint(),
      tokens.mint({ vmId: randomUUID(), ports: WEB, expirationSeconds: 60 }),
    ])
    const [header, , signature] = mine.split(".")
    await refuse([header, other.split(".")[1], signature].join("."))
  })

  test.each([
    ["of another issuer", { iss: "torpor.example.com" }],
    ["of no issuer", { iss: undefined }],
    ["for another purpose", { purpose: "shell" }],
    ["for a browser's cookie", { purpose: "cookie" }],
    ["for a link", { purpose: "link" }],
    ["for no purpose", { purpose: undefined }],
    ["for nobody", { sub: undefined }],
    ["without an end", { exp: undefined }],
    ["not good yet", { nbf: START / 1000 + 30 }],
    ["for no ports", { ports: undefined }],
    ["for ports that are none", { ports: [[0, 65536]] }],
    ["for ports in words", { ports: [["8080", "8080"]] }],
    ["for more ranges than a token has", { ports: Array.from({ length: 65 }, () => [1, 2]) }],
    ["for somebody with too long a name", { sub: "v".repeat(65) }],
  ])("ours, but %s", async (_, bent) => {
    await refuse(await signed({ claims: bent as JWTPayload }))
  })
})

test("A token of more than 8,000 characters is refused, however well it is signed", async () => {
  const fill = async (length: number) => signed({ claims: { fill: "x".repeat(length) } })
  let length = 5000
  while ((await fill(length + 1)).length <= 8000) length++
  expect(await tokens.verify(await fill(length))).toMatchObject({ vmId: VM })
  expect(await tokens.verify(await fill(length + 10))).toBeUndefined()
  expect(await tokens.verify("x".repeat(50_000_000))).toBeUndefined()
})

test("A token is good for its own purpose alone, also when it was verified for it before", async () => {
  for (const [purpose, other] of [
    ["proxy", "cookie"],
    ["cookie", "proxy"],
  ] as const) {
    const token = await tokens.mint({ vmId: VM, ports: WEB, expirationSeconds: 60, purpose })
    expect(await tokens.verify(token, other)).toBeUndefined()
    expect(await tokens.verify(token, purpose)).toMatchObject({ vmId: VM })
    expect(await tokens.verify(token, other)).toBeUndefined()
  }
})

test("No token is made that would outlive its key", async () => {
  await expect(mint(3601)).rejects.toThrow("outlive")
})

describe("Ports", () => {
  const granted = (ports: Grant["ports"]): Grant => ({ token: "", vmId: VM, ports, expiresAt: 0 })

  test("A range covers its ends and what lies between, and nothing beside it", () => {
    const grant = granted([
      { from: 8000, to: 8009 },
      { from: 443, to: 443 },
    ])
    const covered = Array.from({ length: 65536 }, (_, port) => port).filter((port) => allowsPort(grant, port))
    expect(covered).toEqual([443, 8000, 8001, 8002, 8003, 8004, 8005, 8006, 8007, 8008, 8009])
  })

  test("No range covers no port, and a range from above to below neither", () => {
    for (const grant of [granted([]), granted([{ from: 9000, to: 8000 }])])
      for (const port of [1, 8000, 8500, 9000, 65535]) expect(allowsPort(grant, port)).toBe(false)
  })
})
