import { EventSource } from "eventsource"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { Agent, fetch } from "undici"
import { eventually } from "../../fixtures/eventually.ts"
import { headersTo, type Ground } from "./ground.ts"

export const describeEvents = (ground: () => Ground): void => {
  describe.for([
    ["1.1", false],
    ["2", true],
  ] as const)("An EventSource over HTTP/%s", ([version, allowH2]) => {
    let dispatcher: Agent
    beforeAll(() => {
      dispatcher = new Agent({ connect: { ca: ground().ca }, allowH2 })
    })
    afterAll(() => dispatcher.close())

    const url = (path: string) => `https://${ground().vm.name}${path}`
    const open = (name: string) => {
      const source = new EventSource(url(`/events?name=${name}`), {
        fetch: (input, init) =>
          fetch(input.toString(), {
            dispatcher,
            headers: { ...init.headers, ...headersTo(ground().vm) },
            signal: init.signal as AbortSignal,
          }),
      })
      const heard: string[] = []
      source.addEventListener("message", ({ data, lastEventId }) => heard.push(`${lastEventId} ${data}`))
      return { heard, [Symbol.dispose]: () => source.close() }
    }
    const tell = async (path: string) =>
      (await fetch(url(path), { dispatcher, headers: headersTo(ground().vm) })).text()
    const say = (name: string, text: string) => tell(`/say?name=${name}&text=${text}`)

    test("hears each event when it is said, and after a break what it missed, once", async () => {
      const name = `broken-${version}`
      using events = open(name)
      await say(name, "early")
      await eventually(() => expect(events.heard).toEqual(["1 early"]))
      await say(name, "live")
      await eventually(() => expect(events.heard).toEqual(["1 early", "2 live"]))
      await tell(`/hang-up?name=${name}`)
      await say(name, "missed")
      await eventually(() => expect(events.heard).toEqual(["1 early", "2 live", "3 missed"]))
    })

    test("whose MicroVM is put to sleep wakes it and goes on where it was", async () => {
      const name = `asleep-${version}`
      using events = open(name)
      await say(name, "before")
      await eventually(() => expect(events.heard).toEqual(["1 before"]))
      await ground().sleep()
      await say(name, "after")
      await eventually(() => expect(events.heard).toEqual(["1 before", "2 after"]))
    })
  })
}
