import { expect, it } from "vitest"
import { otherCredentials, startApi } from "./api-under-test.ts"
import { send, signedSend } from "./signed-fetch.ts"

const path = "/torpor/v1/keys/rotate"

it("replaces the key that tokens are signed with for the operator alone, shows old and new, and stops before they are too many", async () => {
  await using api = await startApi()
  const shown = async () => {
    const { keys } = (await (await fetch(`${api.url}/.well-known/jwks.json`)).json()) as { keys: { kid: string }[] }
    return keys.map(({ kid }) => kid)
  }
  const before = await shown()
  expect((await send(api.port, { method: "POST", path, headers: {} })).status).toBe(403)
  expect((await signedSend(api.port, { method: "POST", path, secretAccessKey: "no" })).status).toBe(403)
  const other = await signedSend(api.port, { method: "POST", path, ...otherCredentials })
  expect([other.status, other.headers["x-amzn-errortype"]]).toEqual([403, "AccessDeniedException"])
  expect(other.text).toContain("is not authorized to perform: torpor:RotateSigningKeys")
  expect(await shown()).toEqual(before)
  const rotated = await signedSend(api.port, { method: "POST", path, service: "torpor" })
  const { keyId } = JSON.parse(rotated.text) as { keyId: string }
  expect([rotated.status, await shown()]).toEqual([200, [keyId, ...before]])
  let last = rotated
  while (last.status === 200 && (await shown()).length < 20) last = await signedSend(api.port, { method: "POST", path })
  expect([last.status, last.headers["x-amzn-errortype"]]).toEqual([409, "ConflictException"])
  expect(last.text).toContain("There are 8 signing keys")
})
