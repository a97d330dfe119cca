import { expect, it } from "vitest"
import { createApp, credentials, startApi } from "../api/api-under-test.ts"
import { PLAIN, runToEnd, torpor } from "./torpor.ts"

/** What a command is told that has no configuration. */
const region = "us-east-1"

it("torpor open prints a link and nothing else, or the daemon's sentence; torpor keys rotate the key that signs from now on", async () => {
  await using api = await startApi()
  const client = api.client({ region })
  const imageIdentifier = await createApp(client, region)
  const { microvmId = "", endpoint } = await client.runMicrovm({ imageIdentifier })
  const run = (...words: string[]) =>
    runToEnd(torpor(...words), {
      ...PLAIN,
      TORPOR_API_PORT: String(api.port),
      TORPOR_ACCESS_KEY_ID: credentials.accessKeyId,
      TORPOR_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    })
  const opened = await run("open", microvmId, "-p", "3000", "--path", "/a?b", "--minutes", "5")
  expect(opened).toMatchObject({ code: 0, stderr: "" })
  expect(opened.stdout.startsWith(`https://3000-${endpoint}/.torpor/enter?link=ey`)).toBe(true)
  expect(opened.stdout).toMatch(/^\S+\n$/)

  const refused = await run("open", microvmId, "--minutes", "90")
  expect([refused.code, refused.stdout]).toEqual([1, ""])
  expect(refused.stderr).toContain("'expirationInMinutes'")

  const rotated = await run("keys", "rotate")
  const { keys } = (await (await fetch(`${api.url}/.well-known/jwks.json`)).json()) as { keys: { kid: string }[] }
  expect(rotated.stdout).toContain(`with key ${keys[0]?.kid}.`)
  expect(keys).toHaveLength(2)
})
