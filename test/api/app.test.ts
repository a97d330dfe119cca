import { randomUUID } from "node:crypto"
import { once } from "node:events"
import { createServer, type AddressInfo } from "node:net"
import { Readable } from "node:stream"
import { Hono } from "hono"
import { Counter, Registry } from "prom-client"
import { describe, expect, it } from "vitest"
import type { ApiEnv } from "../../src/api/aws/request-body.ts"
import { serveApi } from "../../src/api/server.ts"
import { createApp, otherCredentials, startApi, type ApiUnderTest } from "./api-under-test.ts"
import { send, sign, signedSend } from "./signed-fetch.ts"

const buildOf = async (api: ApiUnderTest) => {
  const client = api.client()
  const imageIdentifier = await createApp(client)
  const { items } = await client.listMicrovmImageBuilds({ imageIdentifier, imageVersion: "1.0" })
  return items?.[0]?.buildId ?? ""
}

describe("The API's port", () => {
  it("tells how the daemon is, what it counts and its public keys to everybody", async () => {
    const metrics = new Registry()
    new Counter({ name: "torpor_things_total", help: "Things", registers: [metrics] }).inc(3)
    let ok = true
    await using api = await startApi({
      metrics,
      health: async () => ({ ok, database: "up" }),
      tokenKeys: { jwks: async () => ({ keys: [{ kty: "OKP", kid: "one" }] }), rotate: async () => "two" },
    })
    const healthy = await fetch(`${api.url}/healthz`)
    expect([healthy.status, await healthy.json()]).toEqual([200, { ok: true, database: "up" }])
    ok = false
    expect((await fetch(`${api.url}/healthz`)).status).toBe(503)
    expect(await (await fetch(`${api.url}/metrics`)).text()).toContain("torpor_things_total 3")
    expect(await (await fetch(`${api.url}/.well-known/jwks.json`)).json()).toEqual({
      keys: [{ kty: "OKP", kid: "one" }],
    })
  })

  it("tells what it counts to this machine and to whom the operator named, and asks others for the operator's signature", async () => {
    const metrics = new Registry()
    new Counter({ name: "torpor_things_total", help: "Things", registers: [metrics] }).inc(3)
    await using api = await startApi({ metrics, metricsReaders: ["192.0.2.0/24", "198.51.100.7"] })
    const read = async (remoteAddress: string | undefined, headers: Record<string, string> = {}) => {
      const incoming = Object.assign(Readable.from([]), { url: "/metrics", headers, socket: { remoteAddress } })
      const answer = await api.app.request("/metrics", { headers }, { incoming })
      return [answer.status, (await answer.text()).includes("torpor_things_total 3")]
    }
    for (const peer of [
      "127.0.0.1",
      "127.3.2.1",
      "::1",
      "::ffff:127.0.0.1",
      "192.0.2.9",
      "::ffff:192.0.2.9",
      "198.51.100.7",
    ])
      expect([peer, ...(await read(peer))]).toEqual([peer, 200, true])
    const strangers = ["192.0.3.1", "::ffff:192.0.3.1", "2001:db8::1", "198.51.100.8", undefined]
    for (const peer of strangers) {
      expect([peer, ...(await read(peer))]).toEqual([peer, 403, false])
      // What anybody may say of where they come from is nothing.
      expect(await read(peer, { "x-forwarded-for": "127.0.0.1", forwarded: "for=127.0.0.1" })).toEqual([403, false])
    }
    const signed = { path: "/metrics", service: "torpor" }
    expect(await read("192.0.3.1", sign(signed, "localhost").headers)).toEqual([200, true])
    expect(await read("192.0.3.1", sign({ ...signed, ...otherCredentials }, "localhost").headers)).toEqual([403, false])
    expect(await read("192.0.3.1", sign({ ...signed, secretAccessKey: "wrong" }, "localhost").headers)).toEqual([
      403,
      false,
    ])
  })

  it("gives what is signed for S3 to the store, even under a name that is also ours", async () => {
    await using api = await startApi()
    const s3 = api.s3()
    await s3.createBucket({ Bucket: "healthz" })
    await s3.putObject({ Bucket: "healthz", Key: "2025-09-09/microvms", Body: "x" })
    expect((await s3.listObjectsV2({ Bucket: "healthz" })).KeyCount).toBe(1)
  })

  it("refuses a target that is too long, or that isn't UTF-8, or headers without end", async () => {
    await using api = await startApi()
    const get = (path: string, headers = {}) => send(api.port, { method: "GET", path, headers })
    expect((await get(`/${"x".repeat(8192)}`)).status).toBe(414)
    expect((await get("/%ff")).status).toBe(403)
    expect((await signedSend(api.port, { path: "/2025-09-09/microvms/%ff" })).status).toBe(400)
    expect((await get("/?a=%ff")).headers["x-amzn-errortype"]).toBe("InvalidURI")
    expect((await get("/", { "x-long": "y".repeat(20_000) })).status).toBe(431)
  })

  it("streams a build's log as lines of JSON, from any line on and then how it ended, to its own account alone", async () => {
    await using api = await startApi()
    const buildId = await buildOf(api)
    const at = new Date(1_785_000_000_000).toISOString()
    for (let line = 0; line < 1201; line++)
      api.images.lines.push({ line, at, stream: "build", text: `step "${line}" \u001b[31m\n` })
    const read = (query = "", options = {}) =>
      signedSend(api.port, { path: `/torpor/v1/builds/${buildId}/logs${query}`, service: "torpor", ...options })
    const all = await read()
    expect(all.headers["content-type"]).toBe("application/x-ndjson")
    const lines = all.text.trimEnd().split("\n")
    expect(lines).toHaveLength(1202)
    expect(lines[1201]).toBe('{"state":"SUCCESSFUL","reason":null}')
    expect(JSON.parse(lines[1200] ?? "")).toEqual({
      line: 1200,
      at,
      stream: "build",
      text: 'step "1200" \u001b[31m\n',
    })
    expect((await read("?from=1199", { service: "lambda" })).text.trimEnd().split("\n")).toHaveLength(3)
    expect((await read("?from=5000")).text).toBe(`${lines[1201]}\n`)
    for (const limit of [0, 1, 200, 201, 2000])
      expect((await read(`?from=100&limit=${limit}`)).text).toBe(
        lines
          .slice(100, 100 + limit)
          .map((line) => `${line}\n`)
          .join(""),
      )
    expect((await read("?follow=1&from=1")).text.trimEnd().split("\n")).toEqual(lines.slice(1))
    expect((await read("?limit=x")).status).toBe(400)
    expect((await read("?from=-1")).status).toBe(400)
    expect((await read("", otherCredentials)).status).toBe(404)
    expect((await read("", { secretAccessKey: "wrong" })).status).toBe(403)
    for (const other of [randomUUID(), "x"]) {
      expect((await signedSend(api.port, { path: `/torpor/v1/builds/${other}/logs`, service: "torpor" })).status).toBe(
        404,
      )
    }
  })

  it("tells the operator alone what images take on the disk, and removes what nothing needs", async () => {
    await using api = await startApi()
    const usage = async () =>
      JSON.parse((await signedSend(api.port, { path: "/torpor/v1/images/usage" })).text) as unknown
    expect(await usage()).toEqual({ items: [{ kind: "layers", count: 3, bytes: 3000, reclaimableBytes: 3000 }] })
    const prune = { method: "POST", path: "/torpor/v1/images/prune" }
    expect((await signedSend(api.port, { ...prune, secretAccessKey: "wrong" })).status).toBe(403)
    for (const refused of [prune, { path: "/torpor/v1/images/usage" }]) {
      const { status, headers } = await signedSend(api.port, { ...refused, ...otherCredentials })
      expect([status, headers["x-amzn-errortype"]]).toEqual([403, "AccessDeniedException"])
    }
    expect(await usage()).toMatchObject({ items: [{ count: 3 }] })
    const { status, text } = await signedSend(api.port, prune)
    expect([status, JSON.parse(text)]).toEqual([200, { items: [{ kind: "layers", count: 3, bytes: 3000 }] }])
    expect(await usage()).toMatchObject({ items: [{ count: 0, bytes: 0 }] })
  })

  it("says in one sentence that it cannot be had", async () => {
    const other = createServer().listen(0, "127.0.0.1")
    await once(other, "listening")
    const { port } = other.address() as AddressInfo
    await expect(serveApi(new Hono(), { address: "127.0.0.1", port })).rejects.toThrow(
      `The API's port ${port} on 127.0.0.1 is in use; stop what listens there or set TORPOR_API_PORT.`,
    )
    await expect(serveApi(new Hono(), { address: "192.0.2.1", port: 0 })).rejects.toThrow(
      "This machine has no address 192.0.2.1",
    )
    other.close()
    await once(other, "close")
  })

  it("closes when its last answer is out, and cuts what takes longer than the grace", async () => {
    const gate = Promise.withResolvers<void>()
    const inside = Promise.withResolvers<void>()
    const app = new Hono<ApiEnv>()
    app.get("/slow", async (c) => {
      inside.resolve()
      await gate.promise
      return c.text("done")
    })
    app.get("/never", () => new Promise<Response>(() => undefined))
    const server = await serveApi(app, { address: "127.0.0.1", port: 0 })
    const slow = fetch(`${server.url}/slow`)
    await inside.promise
    const closed = server.close(60_000)
    gate.resolve()
    expect(await (await slow).text()).toBe("done")
    await closed
    await expect(fetch(`${server.url}/slow`)).rejects.toThrow()

    const stuck = await serveApi(app, { address: "127.0.0.1", port: 0 })
    const never = fetch(`${stuck.url}/never`).catch((error: unknown) => error)
    const other = await fetch(`${stuck.url}/elsewhere`)
    expect(other.status).toBe(404)
    await stuck.close(0)
    expect(await never).toBeInstanceOf(Error)
  })
})
