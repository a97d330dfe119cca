import { Readable } from "node:stream"
import type { Exchange } from "../exchange.ts"
import { createPacedStream, type Pace } from "./bandwidth.ts"
import type { Paces } from "./limits.ts"

/** The same exchange, whose bodies keep to a pace. */
export const paceExchange = (exchange: Exchange, { toGuest, toClient }: Paces): Exchange =>
  // All else of it stays what it is.
  Object.create(exchange, {
    body: { value: exchange.hasBody ? pace(exchange.body, toGuest) : exchange.body },
    answer: {
      value: (answer: Parameters<Exchange["answer"]>[0]) =>
        exchange.answer(answer.isBodiless ? answer : { ...answer, body: pace(answer.body, toClient) }),
    },
  }) as Exchange

/** What is read from a body at a pace; it breaks off when the body does, with the reason that HTTP/2 gave for it. */
const pace = (whole: Readable | Buffer, at: Pace): Readable => {
  const body = Buffer.isBuffer(whole) ? Readable.from([whole]) : whole
  const paced = createPacedStream(at)
  body
    .on("error", () => {})
    .once("close", () => {
      if (body.readableEnded) return
      const { rstCode } = body as { rstCode?: number }
      Object.assign(paced, { rstCode }).destroy(new Error("The body was broken off"))
    })
  // Whoever owns the body reads or ends the rest of it.
  paced.on("error", () => {}).once("close", () => body.unpipe(paced))
  return body.pipe(paced)
}
