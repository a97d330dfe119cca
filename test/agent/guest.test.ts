import { once } from "node:events"
import { expect, test } from "vitest"
import { openGuest } from "../../machines/vms/guest.ts"
import { openGuestPort } from "./guest-port.ts"

const never = new AbortController().signal

test("What a guest says before anybody asks is heard", async () => {
  await using thaw = await openGuestPort()
  await using agent = await openGuestPort()
  void agent.host.then((socket) =>
    socket.write('{"event":"hello","protocol":1}\n{"event":"exited","process":"main","code":3,"signal":null}\n'),
  )
  const guest = await openGuest({ thaw: thaw.path, agent: agent.path }, never)
  await guest.ready
  expect(await guest.mainExited).toMatchObject({ code: 3, signal: null })
  guest.close()
})

test("That a guest is not listened to any more is said where its words would be, and not when we stop listening", async () => {
  await using thaw = await openGuestPort()
  await using agent = await openGuestPort()
  const said = Promise.withResolvers<readonly [string, string]>()
  const guest = await openGuest({ thaw: thaw.path, agent: agent.path }, never, (...words) => said.resolve(words))
  ;(await agent.host).write("this is no event\n")
  expect(await said.promise).toEqual([
    "notice",
    "[neither output nor the application's end is heard any more: the guest sent a malformed event]\n",
  ])
  guest.close()

  await using quiet = await openGuestPort()
  const words: string[] = []
  const other = await openGuest({ thaw: thaw.path, agent: quiet.path }, never, (_, text) => words.push(text))
  const socket = await quiet.host
  socket.resume()
  const gone = once(socket, "close")
  other.close()
  await gone
  expect(words).toEqual([])
})

test("A guest without an event port is not held by its thaw port", async () => {
  await using thaw = await openGuestPort()
  await expect(openGuest({ thaw: thaw.path, agent: `${thaw.path}-not` }, never)).rejects.toThrow("ENOENT")
  const socket = await thaw.host
  socket.resume()
  if (!socket.destroyed) await once(socket, "close")
})
