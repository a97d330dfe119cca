import {
  credentials,
  makeClientConstructor,
  Metadata,
  status,
  type CallOptions,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ClientUnaryCall,
  type ClientWritableStream,
  type ServiceError,
  type StatusObject,
} from "@grpc/grpc-js"
import { once } from "node:events"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { words, type Message } from "../../fixtures/clients-app/grpc-service.ts"
import { ports } from "../../fixtures/clients-app/ports.ts"
import { eventually } from "../../fixtures/eventually.ts"
import { headersTo, UNUSED_PORT, type Ground, type Reached } from "./ground.ts"

type Answered = (error: ServiceError | null, message?: Message) => void
/** As protoc would type it. */
interface Words {
  shout(message: Message, metadata: Metadata, options: CallOptions, answered: Answered): ClientUnaryCall
  cancelled(message: Message, metadata: Metadata, options: CallOptions, answered: Answered): ClientUnaryCall
  spell(message: Message, metadata: Metadata): ClientReadableStream<Message>
  join(metadata: Metadata, answered: Answered): ClientWritableStream<Message>
  echo(metadata: Metadata): ClientDuplexStream<Message, Message>
  close(): void
}
interface Call {
  readonly more?: Metadata
  readonly options?: CallOptions
  readonly of?: "shout" | "cancelled"
  readonly onCall?: (call: ClientUnaryCall) => void
}
const Client = makeClientConstructor(words, "Words")

export const describeGrpc = (ground: () => Ground): void => {
  describe("A client of gRPC", () => {
    let client: Words
    beforeAll(() => {
      client = new Client(ground().vm.name, credentials.createSsl(Buffer.from(ground().ca))) as unknown as Words
    })
    afterAll(() => client.close())

    const metadata = (
      more: Record<string, string | Buffer> = {},
      to: Reached = ground().vm,
      port: number = ports.grpc,
    ) => {
      const all = new Metadata()
      for (const [key, value] of Object.entries({ ...headersTo(to, port), ...more })) all.set(key, value)
      return all
    }
    /** A unary call to its end, with all that came besides the message. */
    const call = async (text: string, { more = metadata(), options = {}, of = "shout", onCall }: Call = {}) => {
      const answered = Promise.withResolvers<Message>()
      const made = client[of]({ text }, more, options, (error, message) =>
        error === null && message !== undefined ? answered.resolve(message) : answered.reject(error),
      )
      const ended = once(made, "status") as Promise<[StatusObject]>
      const heads = once(made, "metadata") as Promise<[Metadata]>
      heads.catch(() => {})
      onCall?.(made)
      const message = await answered.promise
      return { message, head: (await heads)[0], status: (await ended)[0] }
    }
    const cancelled = async () => Number((await call("", { of: "cancelled" })).message.text)

    test("is answered, with metadata both ways, before and behind the message, as text and as bytes", async () => {
      const bytes = Buffer.from([0, 1, 254, 255])
      const {
        message,
        head,
        status: end,
      } = await call("hello", {
        more: metadata({ "x-word": "a word", "x-word-bin": bytes, authorization: "Bearer its own" }),
      })
      expect(message).toEqual({ text: "HELLO" })
      expect(head.getMap()).toMatchObject({ "x-got-x-word": "a word", "x-got-authorization": "Bearer its own" })
      expect(head.get("x-got-x-word-bin")).toEqual([bytes])
      expect(head.get("x-got-x-aws-proxy-auth")).toEqual([])
      expect(end.code).toBe(status.OK)
      expect(end.metadata.get("x-letters")).toEqual(["5"])
      expect(end.metadata.get("x-letters-bin")).toEqual([Buffer.from([0, 255, 5])])
    })

    test("gets the status, the details and the trailers of a failure", async () => {
      const error = await call("fail").catch((caught: ServiceError) => caught)
      expect(error).toMatchObject({ code: status.NOT_FOUND, details: "no such word: “fail”" })
      expect((error as ServiceError).metadata.get("x-letters")).toEqual(["4"])
    })

    test("reads a stream, message by message", async () => {
      const heard: string[] = []
      for await (const { text } of client.spell({ text: "torpor" }, metadata()) as AsyncIterable<Message>)
        heard.push(text)
      expect(heard.join("-")).toBe("t-o-r-p-o-r")
    })

    test("writes a stream, of large messages too", async () => {
      const answered = Promise.withResolvers<Message | undefined>()
      const stream = client.join(metadata(), (error, message) =>
        error === null ? answered.resolve(message) : answered.reject(error),
      )
      const large = "x".repeat(1024 * 1024)
      for (const text of ["one", large, "three"]) stream.write({ text })
      stream.end()
      const joined = (await answered.promise)?.text ?? ""
      expect([joined.length, joined === `one ${large} three`]).toEqual([large.length + 10, true])
    })

    test("talks both ways at once, an answer for each message before the next", async () => {
      const stream = client.echo(metadata())
      for (const text of ["one", "two", "three"]) {
        const back = once(stream, "data")
        stream.write({ text })
        expect(await back).toEqual([{ text }])
      }
      const end = once(stream, "status")
      stream.end()
      stream.resume()
      expect(await end).toMatchObject([{ code: status.OK }])
    })

    test("is told of a failure in the middle of a stream, behind what came before", async () => {
      const stream = client.echo(metadata())
      const heard: string[] = []
      stream.on("data", ({ text }: Message) => heard.push(text))
      const failed = once(stream, "error").catch((error: unknown) => [error])
      stream.write({ text: "one" })
      await eventually(() => expect(heard).toEqual(["one"]))
      stream.write({ text: "fail" })
      expect(await failed).toMatchObject([{ code: status.NOT_FOUND, details: "failed on the way" }])
    })

    test("whose deadline is over stops the call in the application", async () => {
      const before = await cancelled()
      /** Answers whether it had come to the application. */
      const hangFor = async (ms: number): Promise<boolean> => {
        let hasCome = false
        const onCall = (made: ClientUnaryCall) => void made.once("metadata", () => (hasCome = true))
        const error = await call("hang", { options: { deadline: Date.now() + ms }, onCall }).catch(
          (caught: ServiceError) => caught,
        )
        expect(error).toMatchObject({ code: status.DEADLINE_EXCEEDED })
        return hasCome
      }
      for (let ms = 1000; !(await hangFor(ms)); ms *= 2);
      await eventually(async () => expect(await cancelled()).toBeGreaterThan(before))
    })

    test("that cancels stops the call in the application, of one answer or a stream", async () => {
      const before = await cancelled()
      const stream = client.spell({ text: "forever" }, metadata())
      await once(stream, "data")
      const over = once(stream, "error").catch((error: unknown) => [error])
      stream.cancel()
      stream.resume()
      expect(await over).toMatchObject([{ code: status.CANCELLED }])
      await eventually(async () => expect(await cancelled()).toBe(before + 1))
      const hasCome = Promise.withResolvers<ClientUnaryCall>()
      const onCall = (made: ClientUnaryCall) => void made.once("metadata", () => hasCome.resolve(made))
      const unary = call("hang", { onCall }).catch((caught: ServiceError) => caught)
      ;(await hasCome.promise).cancel()
      expect(await unary).toMatchObject({ code: status.CANCELLED })
      await eventually(async () => expect(await cancelled()).toBe(before + 2))
    })

    test("is refused with a neighbour's token, and told of a port that nobody listens on, as gRPC says such things", async () => {
      const failure = (more: Metadata) => call("hello", { more }).catch((caught: ServiceError) => caught)
      expect(await failure(metadata({}, ground().neighbour))).toMatchObject({ code: status.PERMISSION_DENIED })
      expect(await failure(metadata({}, ground().vm, UNUSED_PORT))).toMatchObject({ code: status.UNAVAILABLE })
    })
  })
}
