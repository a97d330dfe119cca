import { readFile } from "node:fs/promises"
import { expect, test } from "vitest"
import { edgeErrorCodes, toAnswer } from "../../proxy/errors.ts"

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
