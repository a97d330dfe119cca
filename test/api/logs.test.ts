import { once } from "node:events"
import { request, type IncomingMessage } from "node:http"
import { createInterface } from "node:readline"
import { describe, expect, it } from "vitest"
import { notFound } from "../../src/errors.ts"
import type { LogEntry } from "../../src/logs/entry.ts"
import type { LogReader } from "../../src/logs/reader.ts"
import { account, otherCredentials, startApi } from "./api-under-test.ts"
import { createMemoryImages, createMemoryMicrovms } from "./memory-resources.ts"
import { sign, signedSend } from "./signed-fetch.ts"

const id = "microvm-11111111-2222-4333-8444-555555555555"
const path = `/torpor/v1/microvms/${id}/logs`

/** A log in memory that goes on until it is ended. */
const createGrowingLog = () => {
  const entries: LogEntry[] = []
  let over = false
  let changed = Promise.withResolvers<void>()
  const announce = () => {
    changed.resolve()
    changed = Promise.withResolvers()
  }
  const log = {
    /** Who waits for more at this moment. */
    waiting: 0,
    add(text: string) {
      entries.push({ line: entries.length, at: "2026-07-25T17:20:00.000Z", stream: "stdout", text })
      announce()
    },
    end() {
      over = true
      announce()
    },
    reader: {
      read: async (from, limit) => {
        const found = entries.slice(from, from + limit)
        return { entries: found, next: from + found.length }
      },
      async more(from, signal) {
        while (from >= entries.length && !over) {
          log.waiting++
          const aborted = once(signal, "abort").then(() => Promise.reject(signal.reason as Error))
          await Promise.race([changed.promise, aborted]).finally(() => log.waiting--)
        }
        return from < entries.length
      },
    } satisfies LogReader,
  }
  return log
}

const start = async (log: ReturnType<typeof createGrowingLog>, closing: AbortSignal = new AbortController().signal) => {
  const microvms = createMemoryMicrovms(createMemoryImages())
  return startApi({
    closing,
    microvms: {
      ...microvms,
      log: async (uuid, scope) => {
        if (`microvm-${uuid}` !== id || scope.account !== account) throw notFound(`MicroVM not found: microvm-${uuid}`)
        return log.reader
      },
    },
  })
}
const follow = async (port: number) => {
  const target = `${path}?follow=1`
  const { headers } = sign({ path: target }, `127.0.0.1:${port}`)
  const sent = request({ host: "127.0.0.1", port, path: target, headers, agent: false }).end()
  const [response] = (await once(sent, "response")) as [IncomingMessage]
  response.on("error", () => {})
  const lines = createInterface({ input: response })[Symbol.asyncIterator]()
  return {
    leave: () => sent.destroy(),
    next: async () => {
      const { done, value } = await lines.next()
      return done ? undefined : (JSON.parse(value) as LogEntry).text
    },
    isWhole: () => response.complete,
  }
}

describe("The log of a MicroVM over the API", () => {
  it("is read by its account alone", async () => {
    const log = createGrowingLog()
    await using api = await start(log)
    log.add("one")
    log.add("two")
    const { status, headers, text } = await signedSend(api.port, { path, service: "torpor" })
    expect([status, headers["content-type"]]).toEqual([200, "application/x-ndjson"])
    expect(
      text
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual([
      { line: 0, at: "2026-07-25T17:20:00.000Z", stream: "stdout", text: "one" },
      { line: 1, at: "2026-07-25T17:20:00.000Z", stream: "stdout", text: "two" },
    ])
    expect((await signedSend(api.port, { path, ...otherCredentials })).status).toBe(404)
    expect((await signedSend(api.port, { path: path.replace("1111", "2222") })).status).toBe(404)
    expect((await signedSend(api.port, { path: path.replace(id, "x") })).status).toBe(404)
    expect((await signedSend(api.port, { path, secretAccessKey: "wrong" })).status).toBe(403)
  })

  it("is followed line by line until it ends", async () => {
    const log = createGrowingLog()
    await using api = await start(log)
    log.add("one")
    const follower = await follow(api.port)
    expect(await follower.next()).toBe("one")
    log.add("two")
    expect(await follower.next()).toBe("two")
    log.add("three")
    log.end()
    expect(await follower.next()).toBe("three")
    expect(await follower.next()).toBeUndefined()
    expect(follower.isWhole()).toBe(true)
  })

  it("isn't waited for any more when its follower has left", async () => {
    const log = createGrowingLog()
    await using api = await start(log)
    log.add("one")
    const follower = await follow(api.port)
    await follower.next()
    await expect.poll(() => log.waiting).toBe(1)
    follower.leave()
    await expect.poll(() => log.waiting).toBe(0)
  })

  it("holds nobody up when the service closes: a follower is at its end", async () => {
    const [log, closing] = [createGrowingLog(), new AbortController()]
    await using api = await start(log, closing.signal)
    log.add("one")
    const follower = await follow(api.port)
    await follower.next()
    closing.abort()
    expect(await follower.next()).toBeUndefined()
    expect(follower.isWhole()).toBe(true)
  })
})
