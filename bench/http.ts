import { request } from "node:http"
import { text } from "node:stream/consumers"
import { setTimeout as sleep } from "node:timers/promises"

/** The application's own answer, over plain HTTP and a connection of its own; rejects while nobody listens. */
const ask = (host: string, port: number): Promise<string> =>
  new Promise((resolve, reject) => {
    request({ host, port, agent: false }, (response) => void text(response).then(resolve, reject))
      .once("error", reject)
      .end()
  })

/** Asks again and again until there is an answer, and checks that it is the sample's first. A peer has no edge that would hold the request. */
export const untilAnswer = async (host: string, port: number, signal?: AbortSignal): Promise<void> => {
  for (;;) {
    const answer = await ask(host, port).catch(() => undefined)
    if (answer === undefined) await sleep(1, undefined, signal === undefined ? {} : { signal })
    else if ((JSON.parse(answer) as { count: number }).count === 1) return
    else throw new Error(`The application answered ${answer}`)
  }
}
