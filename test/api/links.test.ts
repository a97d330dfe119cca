import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { Destination } from "../../src/tokens/links.ts"
import { createApp, otherCredentials, startApi, type ApiUnderTest } from "./api-under-test.ts"
import { send, signedSend, type SignedRequest } from "./signed-fetch.ts"

const expiresAt = Date.UTC(2026, 0, 1) / 1000
const made: Destination[] = []
let api: ApiUnderTest
let vm: { microvmId: string; endpoint: string }

beforeAll(async () => {
  const links = {
    mint: async (to: Destination) => {
      made.push(to)
      return { token: `link-${made.length}`, expiresAt }
    },
  }
  api = await startApi({ links })
  const client = api.client()
  const imageIdentifier = await createApp(client)
  const { microvmId = "", endpoint = "" } = await client.runMicrovm({ imageIdentifier })
  vm = { microvmId, endpoint }
})
afterAll(() => api?.[Symbol.asyncDispose]())

const ask = async (body: unknown, more: Partial<SignedRequest> = {}) => {
  const path = `/torpor/v1/microvms/${vm.microvmId}/links`
  const { status, text, headers } = await signedSend(api.port, {
    method: "POST",
    path,
    service: "torpor",
    body: JSON.stringify(body),
    ...more,
  })
  return { status, json: JSON.parse(text) as Record<string, unknown>, error: headers["x-amzn-errortype"] }
}

describe("A link", () => {
  it("leads to a port's own host, to the path and for the time that were asked for", async () => {
    const { status, json } = await ask({ port: 3000, path: "/a/b?c=%20d#e", expirationInMinutes: 5 })
    expect(made.at(-1)).toEqual({
      vmId: vm.microvmId.replace("microvm-", ""),
      port: 3000,
      path: "/a/b?c=%20d#e",
      expirationSeconds: 300,
    })
    expect([status, json]).toEqual([
      200,
      {
        url: `https://3000-${vm.endpoint}/.torpor/enter?link=link-${made.length}`,
        expiresAt: "2026-01-01T00:00:00.000Z",
      },
    ])
  })

  it("leads to the first page of port 8080 unless more is said, at the endpoint itself", async () => {
    const { json } = await ask({ expirationInMinutes: 60 }, { service: "lambda" })
    expect(made.at(-1)).toMatchObject({ port: 8080, path: "/", expirationSeconds: 3600 })
    expect(json["url"]).toBe(`https://${vm.endpoint}/.torpor/enter?link=link-${made.length}`)
  })
})

describe("A link is refused, and none is made,", () => {
  const refused = async (body: unknown, more: Partial<SignedRequest> = {}) => {
    const before = made.length
    const answer = await ask(body, more)
    expect(made).toHaveLength(before)
    return answer
  }

  it.each([
    [
      { port: 0 },
      "Value '0' at 'port' failed to satisfy constraint: Member must have value greater than or equal to 1",
    ],
    [
      { port: 65_536 },
      "Value '65536' at 'port' failed to satisfy constraint: Member must have value less than or equal to 65535",
    ],
    [
      { expirationInMinutes: 0 },
      "Value '0' at 'expirationInMinutes' failed to satisfy constraint: Member must have value greater than or equal to 1",
    ],
    [
      { expirationInMinutes: 61 },
      "Value '61' at 'expirationInMinutes' failed to satisfy constraint: Member must have value less than or equal to 60",
    ],
    [
      { expirationInMinutes: undefined },
      "Value null at 'expirationInMinutes' failed to satisfy constraint: Member must not be null",
    ],
    [{ path: "" }, "at 'path' failed to satisfy constraint: Member must have length greater than or equal to 1"],
    [
      { path: `/${"x".repeat(2048)}` },
      "at 'path' failed to satisfy constraint: Member must have length less than or equal to 2048",
    ],
  ])("for %j, in AWS's words", async (bent, message) => {
    const { status, error, json } = await refused({ port: 3000, path: "/", expirationInMinutes: 5, ...bent })
    expect([status, error]).toEqual([400, "ValidationException"])
    expect(json["message"]).toContain(message)
  })

  it.each([
    "//evil.example/",
    "/\\evil.example",
    "https://evil.example/",
    "evil",
    "\\",
    "/a b",
    "/\n/evil.example",
    "/\u007f",
    "/ü",
    "/a\r\nset-cookie: x=1",
  ])("for a path that isn't one of the MicroVM's own: %j", async (path) => {
    const { status, json } = await refused({ path, expirationInMinutes: 5 })
    expect(status).toBe(400)
    expect(json["message"]).toContain("at 'path' failed to satisfy constraint: Member must satisfy regular expression")
  })

  it("for values of other types and for what is no JSON", async () => {
    for (const body of [{ port: "3000" }, { port: 1.5 }, { path: 1 }, { expirationInMinutes: "5" }, []])
      expect(await refused(body)).toMatchObject({ status: 400, error: "SerializationException" })
    expect(await refused(undefined, { body: "{" })).toMatchObject({ status: 400, error: "SerializationException" })
  })

  it("to whom it isn't, and for what isn't there or is over", async () => {
    const body = { expirationInMinutes: 5 }
    expect(
      (await send(api.port, { method: "POST", path: `/torpor/v1/microvms/${vm.microvmId}/links`, headers: {} })).status,
    ).toBe(403)
    expect(await refused(body, { secretAccessKey: "no" })).toMatchObject({ status: 403 })
    expect(await refused(body, otherCredentials)).toMatchObject({ status: 404, error: "ResourceNotFoundException" })
    for (const id of ["microvm-00000000-0000-4000-8000-000000000000", "nobody"])
      expect(await refused(body, { path: `/torpor/v1/microvms/${id}/links` })).toMatchObject({ status: 404 })
    await api.client().terminateMicrovm({ microvmIdentifier: vm.microvmId })
    expect(await refused(body)).toMatchObject({
      status: 400,
      json: { message: expect.stringContaining("has been terminated") },
    })
  })
})
