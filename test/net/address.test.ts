import { isIPv4 } from "node:net"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { parseAddress, parseRange, slotAddresses, toAddress } from "../../src/net/address.ts"

describe("An address", () => {
  test("is the same after it was a number", () => {
    fc.assert(
      fc.property(fc.ipV4(), (text) => {
        expect(toAddress(parseAddress(text) ?? NaN)).toBe(text)
      }),
    )
  })

  test("is what Node takes for one, and nothing else", () => {
    const almost = fc.string({ unit: fc.constantFrom("0", "1", "2", "5", "9", ".", "-", " ", "x"), maxLength: 16 })
    fc.assert(
      fc.property(almost, (text) => {
        expect(parseAddress(text) !== undefined).toBe(isIPv4(text))
      }),
    )
  })

  test.for([
    "",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.256",
    "1.2.3.-4",
    "010.0.0.1",
    "1.2.3.4 ",
    "0x7f.0.0.1",
    "1..2.3",
    "localhost",
  ])("isn't %j", (text) => expect(parseAddress(text)).toBeUndefined())
})

describe("A range", () => {
  test.for<[text: string, first: string, bits: number]>([
    ["100.127.0.0/16", "100.127.0.0", 16],
    ["0.0.0.0/0", "0.0.0.0", 0],
    ["255.255.255.254/31", "255.255.255.254", 31],
    ["10.1.2.3/32", "10.1.2.3", 32],
    ["10.1.2.3", "10.1.2.3", 32],
  ])("%s begins at %s", ([text, first, bits]) => {
    expect(parseRange(text)).toEqual({ first: parseAddress(first), bits })
  })

  test.for([
    "",
    "10.0.0.0/",
    "0.0.0.0/",
    "10.0.0.0/33",
    "10.0.0.0/-1",
    "0.0.0.0/1e1",
    "10.0.0.0/8/8",
    "10.0.0/8",
    "fd00::/8",
  ])("isn't %j", (text) => expect(() => parseRange(text)).toThrow(`'${text}' is no IPv4 range (a.b.c.d/n).`))

  test("has no bits behind its prefix", () => {
    expect(() => parseRange("100.127.0.2/16")).toThrow("'100.127.0.2/16' has bits set behind its prefix.")
  })
})

describe("A slot's link", () => {
  const indexes = fc.nat({ max: 2 ** 15 - 1 })
  const range = parseRange("100.127.0.0/16")

  test("has two neighbouring addresses of the range, which no other slot has", () => {
    fc.assert(
      fc.property(indexes, indexes, (index, other) => {
        const { host, inside } = slotAddresses(range, index)
        const [first, second] = [parseAddress(host) ?? NaN, parseAddress(inside) ?? NaN]
        expect([first % 2, second]).toEqual([0, first + 1])
        expect([first, second].map((address) => Math.floor(address / 2 ** 16))).toEqual(
          Array(2).fill(range.first / 2 ** 16),
        )
        if (other !== index) expect(Object.values(slotAddresses(range, other))).not.toContain(host)
      }),
    )
  })

  test.for<[text: string, slots: number]>([
    ["100.127.0.0/16", 32_768],
    ["100.127.0.0/30", 2],
    ["100.127.0.0/31", 1],
    ["100.127.0.0/32", 0],
  ])("is refused where %s ends", ([text, slots]) => {
    const small = parseRange(text)
    if (slots > 0) expect(slotAddresses(small, slots - 1).inside).toBe(toAddress(small.first + 2 * slots - 1))
    expect(() => slotAddresses(small, slots)).toThrow(`The address range has no room for slot ${slots}.`)
  })
})
