import { createHash } from "node:crypto"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { Agent, fetch, request, type Dispatcher } from "undici"
import { eventually } from "../../fixtures/eventually.ts"
import { headersTo, parseSeen, type Ground } from "./ground.ts"

export const describeUndici = (ground: () => Ground): void => {
  describe.for([
    ["1.1", false],
    ["2", true],
  ] as const)("undici over HTTP/%s", ([, allowH2]) => {
    let dispatcher: Agent
    beforeAll(() => {
      dispatcher = new Agent({ connect: { ca: ground().ca }, allowH2 })
    })
    afterAll(() => dispatcher.close())
    const ask = (path: string, more: Partial<Dispatcher.RequestOptions> = {}) =>
      request(`https://${ground().vm.name}${path}`, { dispatcher, headers: headersTo(ground().vm), ...more })

    test("fetches with a body that streams", async () => {
      const pieces = Array.from({ length: 200 }, (_, index) => Buffer.alloc(10_000, String(index)))
      const digest = createHash("sha256").update(Buffer.concat(pieces)).digest("hex")
      const response = await fetch(`https://${ground().vm.name}/seen`, {
        dispatcher,
        method: "POST",
        headers: headersTo(ground().vm),
        body: ReadableStream.from(pieces),
        duplex: "half",
      })
      expect(parseSeen(await response.text())).toMatchObject({ bytes: 2_000_000, digest })
    })

    test("gets answers when they come, in another order than they were asked for", async () => {
      const names = ["a", "b", "c"].map((name) => `${allowH2}-${name}`)
      const answered: string[] = []
      const all = names.map(async (name) => {
        const { body } = await ask(`/held?name=${name}`)
        answered.push(await body.text())
      })
      for (const [index, name] of names.toReversed().entries()) {
        // It is held once it is there.
        await eventually(async () => expect((await ask(`/let-go?name=${name}`)).statusCode).toBe(200))
        await eventually(() => expect(answered).toHaveLength(index + 1))
      }
      await Promise.all(all)
      expect(answered).toEqual(names.toReversed())
    })

    test("gives up, and the application learns of it", async () => {
      const name = `${allowH2}-given-up`
      const given = new AbortController()
      const held = ask(`/held?name=${name}`, { signal: given.signal })
      const over = expect(held).rejects.toThrow()
      await eventually(async () => expect((await ask(`/is-held?name=${name}`)).statusCode).toBe(200))
      given.abort()
      await over
      await eventually(async () => expect((await ask(`/left?name=${name}`)).statusCode).toBe(200))
    })

    test("gets trailers", async () => {
      const { body, trailers } = await ask("/trailers", { headers: { ...headersTo(ground().vm), te: "trailers" } })
      expect(await body.text()).toBe("a body, and more")
      expect(trailers).toMatchObject({ "x-digest": "of it" })
    })

    test("gets each of many at once", async () => {
      const all = Array.from({ length: 50 }, async (_, index) => {
        const { statusCode, body } = await ask(`/seen?n=${index}`, { method: "POST", body: "x".repeat(index) })
        expect(statusCode).toBe(200)
        return parseSeen(await body.text())
      })
      expect((await Promise.all(all)).map(({ url, bytes }) => [url, bytes])).toEqual(
        all.map((_, index) => [`/seen?n=${index}`, index]),
      )
    })
  })
}
