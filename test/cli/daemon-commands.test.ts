import { once } from "node:events"
import { createServer, type AddressInfo } from "node:net"
import { expect, it } from "vitest"
import { createApp, credentials, startApi } from "../api/api-under-test.ts"
import { PLAIN, runToEnd, torpor } from "./torpor.ts"

/** What a command is told that has no configuration. */
const region = "us-east-1"

/** Runs commands against this API. */
const runnerOf =
  ({ port }: { readonly port: number }) =>
  (...words: string[]) =>
    runToEnd(torpor(...words), {
      ...PLAIN,
      TORPOR_API_PORT: String(port),
      TORPOR_ACCESS_KEY_ID: credentials.accessKeyId,
      TORPOR_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    })

it("torpor open prints a link and nothing else, or the daemon's sentence; torpor keys rotate the key that signs from now on", async () => {
  await using api = await startApi()
  const client = api.client({ region })
  const imageIdentifier = await createApp(client, region)
  const { microvmId = "", endpoint } = await client.runMicrovm({ imageIdentifier })
  const run = runnerOf(api)
  const opened = await run("open", microvmId, "-p", "3000", "--path", "/a?b", "--minutes", "5")
  expect(opened).toMatchObject({ code: 0, stderr: "" })
  expect(opened.stdout.startsWith(`https://3000-${endpoint}/.torpor/enter?link=ey`)).toBe(true)
  expect(opened.stdout).toMatch(/^\S+\n$/)

  const refused = await run("open", microvmId, "--path", "elsewhere")
  expect([refused.code, refused.stdout]).toEqual([1, ""])
  expect(refused.stderr).toContain("'path'")

  const rotated = await run("keys", "rotate")
  const { keys } = (await (await fetch(`${api.url}/.well-known/jwks.json`)).json()) as { keys: { kid: string }[] }
  expect(rotated.stdout).toContain(`with key ${keys[0]?.kid}.`)
  expect(keys).toHaveLength(2)
})

it("torpor ps lists MicroVMs, and suspend, resume and terminate say in which state one is then", async () => {
  await using api = await startApi()
  const client = api.client({ region })
  const imageIdentifier = await createApp(client, region)
  const ids = []
  for (let number = 0; number < 3; number++) ids.push((await client.runMicrovm({ imageIdentifier })).microvmId ?? "")
  const [first = "", second = "", third = ""] = ids
  const run = runnerOf(api)
  const idsIn = (lines: string) => lines.match(/microvm-[\w-]+/g)?.toSorted()
  for (const [verb, state] of [
    ["suspend", /^SUSPEND(ING|ED)$/],
    ["resume", /^RUNNING$/],
    ["terminate", /^TERMINAT(ING|ED)$/],
  ] as const) {
    const said = await run(verb, first)
    expect(said).toMatchObject({ code: 0, stderr: "" })
    const [id, then = ""] = said.stdout.trimEnd().split(" ")
    expect(id).toBe(first)
    expect(then).toMatch(state)
  }
  const listed = await run("ps")
  expect(listed).toMatchObject({ code: 0, stderr: "" })
  expect(listed.stdout).toMatch(
    /^MICROVM +IMAGE +VERSION +STATE +STARTED\n(microvm-\S+ +app +\d+(\.\d+)? +PENDING +\S+Z\n){2}$/,
  )
  expect(idsIn(listed.stdout)).toEqual([second, third].toSorted())
  const all = JSON.parse((await run("ps", "-a", "--json")).stdout) as { microvmId: string; state: string }[]
  expect(all.map(({ microvmId }) => microvmId).toSorted()).toEqual(ids.toSorted())
  expect(all.find(({ microvmId }) => microvmId === first)?.state).toMatch(/^TERMINAT/)

  const unknown = await run("terminate", "microvm-00000000-0000-4000-8000-000000000000")
  expect([unknown.code, unknown.stdout]).toEqual([1, ""])
  expect(unknown.stderr).toBe("MicroVM not found: microvm-00000000-0000-4000-8000-000000000000: see `torpor ps`.\n")
  const none = await run("run", "nobody")
  expect([none.code, none.stderr]).toEqual([
    1,
    "No active version found for MicroVM image arn:aws:lambda:us-east-1:000000000000:microvm-image:nobody: `torpor build` makes one, and `torpor logs` has what a build has said.\n",
  ])
})

it("torpor images ls lists images and an image's versions, and torpor images rm deletes them", async () => {
  await using api = await startApi()
  const client = api.client({ region })
  await createApp(client, region)
  const run = runnerOf(api)
  const listed = await run("images", "ls")
  expect(listed).toMatchObject({ code: 0, stderr: "" })
  expect(listed.stdout).toMatch(/^NAME +VERSION +STATE +CREATED\napp +1\.0 +CREATED +\S+Z\n$/)
  const versions = await run("images", "ls", "app")
  expect(versions.stdout).toMatch(/^VERSION +STATE +STATUS +MEMORY +CREATED\n1\.0 +\w+ +ACTIVE +2048 MiB +\S+Z\n$/)
  const [one] = JSON.parse((await run("images", "ls", "--json")).stdout) as object[]
  expect(one).toMatchObject({ name: "app", latestActiveImageVersion: "1.0" })
  expect(await run("images", "rm", "app:1.0")).toMatchObject({ code: 0, stdout: "app, version 1.0, is deleted\n" })
  expect(await run("images", "rm", "app")).toMatchObject({ code: 0, stdout: "app is deleted\n" })
  const arn = `arn:aws:lambda:${region}:000000000000:microvm-image:app`
  expect(await run("images", "rm", "app")).toMatchObject({
    code: 1,
    stdout: "",
    stderr: `MicroVMImage not found for MicroVMImageID: ${arn}: see \`torpor images ls\`.\n`,
  })
  expect((await run("images", "ls", "--json")).stdout).toBe("[]\n")
})

it("what answers at the API's port and isn't it is told from a daemon that isn't there", async () => {
  const other = createServer((socket) => socket.end()).listen(0, "127.0.0.1")
  await once(other, "listening")
  const { port } = other.address() as AddressInfo
  const run = runnerOf({ port })
  for (const words of [["ps"], ["functions", "ls"]]) {
    const said = await run(...words)
    expect([said.code, said.stdout]).toEqual([1, ""])
    expect(said.stderr).toMatch(
      /^What answers at http:\/\/127\.0\.0\.1:\d+ isn't Torpor's API \(.*\): say where it is .*\n$/,
    )
  }
  other.close()
  const gone = await run("ps")
  expect([gone.code, gone.stderr]).toEqual([1, expect.stringContaining("(ECONNREFUSED): start the daemon") as string])
})
