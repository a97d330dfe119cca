import { readFile } from "node:fs/promises"
import { describe, expect, test } from "vitest"
import { edgeErrorCodes, toAnswer } from "../../proxy/errors.ts"
import { openTestEdge } from "./test-edge.ts"

test("The README's table is what the edge answers: every status, name and text, and no other", async () => {
  const readme = await readFile(new URL("../../README.md", import.meta.url), "utf8")
  const section = /## What the edge answers\n([^]*?)\n## /.exec(readme)?.[1] ?? ""
  const told = [...section.matchAll(/^\| (\d+) \| `([A-Z_]+)` \| (?:`(.*?)`|empty) \|/gm)].map(
    ([, status, name, body = ""]) => `${status} ${name} ${body}`,
  )
  const answered = edgeErrorCodes.map((code) => {
    const { status, headers, body } = toAnswer(code, "id")
    return `${status} ${String(headers["x-aws-proxy-error"])} ${body}`
  })
  expect(new Set(told)).toEqual(new Set(answered))
  expect(told).toHaveLength(new Set(told).size)
})

describe("A refusal", () => {
  test.for([
    ["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true],
    ["text/html", true],
    ["*/*", false],
    ["application/json", false],
    ["text/html-like", false],
    [undefined, false],
  ] as const)("for a client that accepts %s is a page: %s", ([accept, isPage]) => {
    for (const code of edgeErrorCodes) {
      const { headers, body } = toAnswer(code, "the-id", accept)
      expect(headers["content-type"]).toBe(`text/${isPage ? "html" : "plain"}; charset=utf-8`)
      expect(headers["content-length"]).toBe(Buffer.byteLength(body))
      expect(body.startsWith("<!doctype html>")).toBe(isPage)
      if (isPage) expect(body).toMatch(new RegExp(`<h1>.+</h1>[^]*${String(headers["x-aws-proxy-error"])} · the-id`))
    }
  })

  test("reaches a browser as a page that runs nothing, with the status that a program would get", async () => {
    await using edge = await openTestEdge()
    const { status, body, headers } = await edge.get(
      { port: 1 },
      { headers: { accept: "text/html", "x-aws-proxy-auth": "none" } },
    )
    expect([status, headers["x-aws-proxy-error"]]).toEqual([403, "UNAUTHORIZED"])
    expect(headers["content-security-policy"]).toContain("default-src 'none'")
    expect(body).toContain("<h1>You are not signed in</h1>")
  })
})
