import { describe, expect, test } from "vitest"
import { EdgeError } from "../../../proxy/errors.ts"
import { toRequestText } from "../../../proxy/guest/bodiless/request-head.ts"

const head = { method: "GET", path: "/a?b=c", host: "h", headers: { host: "h" } }

describe("A request without a body", () => {
  test("is written as HTTP/1.1 writes it, with each of a field's values on a line of its own", () => {
    const headers = { host: "h", cookie: "a=b; c=d", "set-cookie": ["one", "two"], "x-latin": "gr\xfcn", te: undefined }
    expect(toRequestText({ ...head, headers })).toBe(
      "GET /a?b=c HTTP/1.1\r\nconnection: keep-alive\r\nhost: h\r\ncookie: a=b; c=d\r\nset-cookie: one\r\nset-cookie: two\r\nx-latin: gr\xfcn\r\n\r\n",
    )
  })

  test("says that it has none where applications may wait for one", () => {
    expect(toRequestText({ ...head, method: "POST" })).toContain("\r\ncontent-length: 0\r\n")
    expect(
      toRequestText({ ...head, method: "POST", headers: { "content-length": "0" } }).match(/content-length/g),
    ).toHaveLength(1)
    expect(toRequestText({ ...head, method: "DELETE" })).not.toContain("content-length")
  })

  test.each([
    ["a value of two lines", { headers: { a: "b\r\nc: d" } }],
    ["a value with LF", { headers: { a: "b\nc: d" } }],
    ["a character whose low byte is LF", { headers: { a: "b\u010ac: d" } }],
    ["one of several values of two lines", { headers: { "set-cookie": ["a", "b\r\nc: d"] } }],
    ["a name with a colon", { headers: { "a: b\r\nc": "d" } }],
    ["a name in capitals, which HTTP/2 has none of", { headers: { "A b": "c" } }],
    ["a path with a space", { path: "/a HTTP/1.1\r\na: b" }],
    ["a path whose low byte is a space", { path: "/a\u0120b" }],
    ["no path", { path: "" }],
    ["a method with a space", { method: "GET /" }],
  ])("is none with %s", (_, change) => {
    expect(() => toRequestText({ ...head, ...change })).toThrow(EdgeError)
  })
})
