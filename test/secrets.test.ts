import { randomBytes } from "node:crypto"
import fc from "fast-check"
import { expect, test } from "vitest"
import { createSecrets } from "../src/secrets.ts"

const key = randomBytes(32)
const secrets = createSecrets(key)

test("What was sealed is opened again, whatever it is", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), (text) => {
      expect(secrets.open(secrets.seal(text))).toBe(text)
    }),
  )
})

test("Nothing of it is to be seen, and the same text never looks the same", () => {
  const text = "AWS_SECRET_ACCESS_KEY=" + "x".repeat(40)
  const sealed = [secrets.seal(text), secrets.seal(text)]
  for (const one of sealed) expect(one.includes("AWS_SECRET")).toBe(false)
  expect(sealed[0]?.equals(sealed[1] as Buffer)).toBe(false)
  expect(sealed[0]?.subarray(0, 12).equals(sealed[1]?.subarray(0, 12) as Buffer), "a nonce is used once").toBe(false)
})

test("A single bit changed anywhere, or a byte cut off, is refused", () => {
  const sealed = secrets.seal("secret")
  for (let bit = 0; bit < sealed.length * 8; bit++) {
    const altered = Buffer.from(sealed)
    altered[bit >> 3] = (altered[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    expect(() => secrets.open(altered), `bit ${bit}`).toThrow()
  }
  for (let length = 0; length < sealed.length; length++)
    expect(() => secrets.open(sealed.subarray(0, length)), `${length} bytes`).toThrow()
  expect(() => secrets.open(Buffer.concat([sealed, Buffer.alloc(1)]))).toThrow()
})

test("Another key opens nothing, and says what has happened", () => {
  expect(() => createSecrets(randomBytes(32)).open(secrets.seal("secret"))).toThrow(
    expect.objectContaining({
      name: "OperatorError",
      message: expect.stringContaining("was sealed under another key"),
    }),
  )
})

test("What is derived is the same for the same key and words, and else another", () => {
  expect(
    createSecrets(key)
      .derive("agent", "vm", "1")
      .equals(secrets.derive("agent", "vm", "1")),
  ).toBe(true)
  const all = [
    secrets.derive("agent", "vm", "1"),
    secrets.derive("agent", "vm", "2"),
    secrets.derive("agent", "vm1"),
    secrets.derive("agentvm", "1"),
    secrets.derive("agent", "vm", "1", ""),
    createSecrets(randomBytes(32)).derive("agent", "vm", "1"),
  ]
  expect(new Set(all.map((bytes) => bytes.toString("hex"))).size).toBe(all.length)
  for (const bytes of all) expect(bytes).toHaveLength(32)
})
