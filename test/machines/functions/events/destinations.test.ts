import { createHmac, randomUUID } from "node:crypto"
import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { signedPost } from "../../../../machines/functions/events/destinations/post.ts"
import { eventually } from "../../../fixtures/eventually.ts"
import { openHost, type HostUnderTest } from "./events-under-test.ts"
import { startQueueServer, type QueuedMessage, type QueueServer } from "./queue-server.ts"
import { thrown, type Script } from "./scripted-invoker.ts"

const region = "eu-central-1"
const arn = (service: string, name: string) => `arn:aws:${service}:${region}:000000000000:${name}`

let host: HostUnderTest
let server: QueueServer
beforeAll(async () => {
  host = await openHost()
  server = await startQueueServer({
    queues: ["results", "dead", "from-topic"].map((name) => ({ name, region })),
    topics: [{ name: "topic", region }],
    subscriptions: [{ topic: "topic", queue: "from-topic", region }],
  })
})
afterAll(async () => {
  await server[Symbol.asyncDispose]()
  await host[Symbol.asyncDispose]()
})

const service = () => ({ endpoint: server.endpoint, accessKeyId: "test", secretAccessKey: "test" })
const open = (script: Script, webhooks = {}) =>
  host.open(script, { destinations: { sqs: service(), sns: service(), webhooks } })
const answer =
  (text: string): Script =>
  () =>
    Promise.resolve(Buffer.from(text))

const found = async (queue: string, part: string): Promise<QueuedMessage> => {
  const message = (await server.messages(queue)).find(({ body }) => body.includes(part))
  if (message === undefined) throw new Error(`Nothing of ${part} is in ${queue}`)
  return message
}
const timestamp: unknown = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)

describe("What has become of an event", () => {
  it("is told to a queue as AWS writes it, payloads as they were", async () => {
    await using under = await open(answer('{"n":1.0,"text":"é"}'))
    const name = await host.make({ config: { onSuccess: arn("sqs", "results") } })
    const requestId = await under.accept(name, '{"asked":2.50}')
    await host.untilEmpty(name)
    const { body, messageAttributes } = await found("results", requestId)
    expect(messageAttributes).toEqual({})
    expect(JSON.parse(body)).toEqual({
      version: "1.0",
      timestamp,
      requestContext: {
        requestId,
        functionArn: `arn:aws:lambda:${region}:000000000000:function:${name}:$LATEST`,
        condition: "Success",
        approximateInvokeCount: 1,
      },
      requestPayload: { asked: 2.5 },
      responseContext: { statusCode: 200, executedVersion: "$LATEST" },
      responsePayload: { n: 1, text: "é" },
    })
    expect(body).toContain('"requestPayload":{"asked":2.50}')
  })

  it("is told to a topic when it has failed, and the event itself goes to its dead letters", async () => {
    await using under = await open(() => Promise.resolve(thrown("broken")))
    const name = await host.make({
      deadLetterArn: arn("sqs", "dead"),
      config: { onFailure: arn("sns", "topic"), maximumRetries: 1 },
    })
    const requestId = await under.accept(name, '{"secret":"payload"}')
    await host.untilEmpty(name)
    const { body } = await found("from-topic", requestId)
    const { Message } = JSON.parse(body) as { Message: string }
    expect(JSON.parse(Message)).toMatchObject({
      requestContext: { requestId, condition: "RetriesExhausted", approximateInvokeCount: 2 },
      requestPayload: { secret: "payload" },
      responseContext: { statusCode: 200, executedVersion: "$LATEST", functionError: "Unhandled" },
      responsePayload: { errorType: "Error", errorMessage: "broken" },
    })
    const dead = await found("dead", "secret")
    expect(dead.body).toBe('{"secret":"payload"}')
    expect(dead.messageAttributes).toMatchObject({
      RequestID: { DataType: "String", StringValue: requestId },
      ErrorCode: { DataType: "Number", StringValue: "200" },
      ErrorMessage: { DataType: "String", StringValue: "broken" },
    })
    expect(JSON.stringify(under.lines)).not.toContain("payload\\")
    expect(under.lines).toContainEqual(expect.objectContaining({ requestId, target: arn("sqs", "dead") }))
  })

  it("is another function's event", async () => {
    const events: string[] = []
    await using under = await open(({ target, payload }) => {
      events.push(`${target.name} ${target.qualifier ?? ""} ${payload.toString()}`)
      return Promise.resolve(Buffer.from("no JSON"))
    })
    const next = await host.make()
    const name = await host.make({ config: { onSuccess: `${arn("lambda", "function")}:${next}:live` } })
    await under.accept(name)
    await host.untilEmpty(name)
    await host.untilEmpty(next)
    expect(events).toHaveLength(2)
    expect(events[1]).toMatch(new RegExp(`^${next} live \\{"version":"1.0",.*"responsePayload":"no JSON"\\}$`))
  })

  it("waits for a queue that is not there yet", async () => {
    await using under = await open(answer("1"))
    const name = await host.make({ config: { onSuccess: arn("sqs", "later") } })
    const requestId = await under.accept(name)
    await eventually(() => {
      const told = under.lines.filter(({ msg }) => msg === "A destination takes nothing now")
      expect(told.length).toBeGreaterThan(1)
    })
    const headers = { "content-type": "application/x-amz-json-1.0", "x-amz-target": "AmazonSQS.CreateQueue" }
    const made = JSON.stringify({ QueueName: "later" })
    await signedPost(service(), { service: "sqs", region }, headers, made, new AbortController().signal)
    await host.untilEmpty(name)
    await found("later", requestId)
  })

  it("is dropped where it is more than is taken, or nothing is configured any more", async () => {
    await using under = await open(answer(JSON.stringify("x".repeat(300_000))))
    const [large, gone] = [
      await host.make({ config: { onSuccess: arn("sns", "topic") } }),
      await host.make({ config: { onSuccess: "arn:aws:torpor:::webhook/gone" } }),
    ]
    for (const name of [large, gone]) {
      await under.accept(name)
      await host.untilEmpty(name)
    }
    expect(under.lines.filter(({ kind }) => kind === "destination").map(({ reason }) => reason)).toEqual([
      expect.stringMatching(/^It is of 300\d\d\d bytes, and 262144 are taken$/),
      "Torpor is configured without this destination",
    ])
    expect(await under.metrics.metrics()).toContain('torpor_events_ended_total{kind="destination",ending="dropped"} 2')
  })

  it("is posted to a webhook, signed, until it is taken, and to nobody whom that names", async () => {
    const statuses = [503, 302, 204]
    const posted: { headers: Record<string, string | string[] | undefined>; body: string }[] = []
    const hook = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on("data", (chunk: Buffer) => void chunks.push(chunk))
      request.on("end", () => {
        response.writeHead(statuses[posted.length] ?? 500, { location: "/elsewhere" }).end()
        posted.push({ headers: { ...request.headers, path: request.url }, body: Buffer.concat(chunks).toString() })
      })
    }).listen(0, "127.0.0.1")
    await once(hook, "listening")
    const url = `http://127.0.0.1:${(hook.address() as AddressInfo).port}/hook`
    const key = Buffer.from("a secret of sixteen or more")
    await using under = await open(answer("1"), { mine: { url, secret: `whsec_${key.toString("base64")}` } })
    const name = await host.make({ config: { onSuccess: "arn:aws:torpor:::webhook/mine" } })
    const requestId = await under.accept(name)
    await host.untilEmpty(name)
    hook.close()
    expect(posted.map(({ headers }) => headers["path"])).toEqual(["/hook", "/hook", "/hook"])
    for (const { headers, body } of posted) {
      expect(headers["webhook-id"]).toBe(requestId)
      const signed = `${requestId}.${String(headers["webhook-timestamp"])}.${body}`
      expect(headers["webhook-signature"]).toBe(`v1,${createHmac("sha256", key).update(signed).digest("base64")}`)
    }
  })
})

describe("A loop of functions", () => {
  const counting = () => {
    const rounds: Record<string, number> = {}
    const script: Script = ({ target: { name } }) => {
      rounds[name] = (rounds[name] ?? 0) + 1
      return Promise.resolve(Buffer.from("1"))
    }
    return { rounds, script }
  }
  const functionArn = (name: string) => `${arn("lambda", "function")}:${name}`
  const randomName = () => `f-${randomUUID().slice(0, 8)}`
  const untilEmpty = async (...names: string[]) =>
    eventually(
      async () => {
        const left = await Promise.all(names.map((name) => host.waiting(name)))
        expect(left.reduce((sum, one) => sum + one)).toBe(0)
      },
      { interval: 10 },
    )

  it("of one, its own destination, ends after sixteen rounds, with its dead letters and its failures told of it", async () => {
    const { rounds, script } = counting()
    await using under = await open(script)
    const name = randomName()
    const onFailure = arn("sqs", "results")
    await host.make({ name, deadLetterArn: arn("sqs", "dead"), config: { onSuccess: functionArn(name), onFailure } })
    await under.accept(name)
    await untilEmpty(name)
    expect(rounds[name]).toBe(16)
    const record = JSON.parse((await found("results", name)).body) as Record<string, unknown>
    expect(record).toMatchObject({ requestContext: { condition: "RecursiveInvocation", approximateInvokeCount: 0 } })
    expect(record).not.toHaveProperty("responseContext")
    expect((await found("dead", name)).messageAttributes).toMatchObject({
      ErrorCode: { StringValue: "400" },
      ErrorMessage: { StringValue: expect.stringContaining("in a recursive loop") as string },
    })
    expect(await under.metrics.metrics()).toContain(
      'torpor_events_ended_total{kind="invocation",ending="loop-stopped"} 1',
    )
  })

  it("of two ends, and what is told of that ends too where it goes round itself", async () => {
    const { rounds, script } = counting()
    await using under = await open(script)
    const [first, second] = [randomName(), randomName()]
    await host.make({ name: first, config: { onSuccess: functionArn(second), onFailure: functionArn(first) } })
    await host.make({ name: second, config: { onSuccess: functionArn(first), onFailure: functionArn(first) } })
    await under.accept(first)
    // Between two rounds either may have nothing.
    await expect
      .poll(() => under.lines)
      .toContainEqual(expect.objectContaining({ msg: "An event is dropped: what is told of a loop has come round it" }))
    await untilEmpty(first, second)
    expect(rounds).toEqual({ [first]: 16, [second]: 16 })
  })

  it("goes on where the function allows it", async () => {
    const rounds = Promise.withResolvers<void>()
    let count = 0
    await using under = await open(() => {
      if (++count === 20) rounds.resolve()
      return Promise.resolve(count <= 20 ? Buffer.from("1") : thrown("enough"))
    })
    const name = randomName()
    await host.make({
      name,
      recursiveLoop: "Allow",
      config: { onSuccess: functionArn(name), maximumRetries: 0 },
    })
    await under.accept(name)
    await rounds.promise
    await untilEmpty(name)
  })
})
