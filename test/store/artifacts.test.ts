import { randomBytes } from "node:crypto"
import { mkdir, readdir, readFile, stat } from "node:fs/promises"
import { join } from "node:path"
import { setImmediate } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { Artifacts } from "../../src/store/artifact.ts"
import { createBuiltInArtifacts } from "../../src/store/built-in-artifacts.ts"
import { createRemoteArtifacts } from "../../src/store/remote-artifacts.ts"
import { account, credentials, region, startApi, type ApiUnderTest } from "../api/api-under-test.ts"

const scope = { account, region }
const never = new AbortController().signal

describe.each(["the built-in store", "another S3"])("An artifact of %s", (which) => {
  let api: ApiUnderTest
  let directory: string
  let artifacts: Artifacts
  let remote: Disposable | undefined
  const body = randomBytes(300_000)
  const open = (uri: string, signal = never) => artifacts.openArtifact(uri, scope, signal)

  beforeAll(async () => {
    api = await startApi()
    directory = join(api.directory, "copies")
    await mkdir(directory)
    const s3 = api.s3()
    await s3.createBucket({ Bucket: "artifacts" })
    await s3.putObject({ Bucket: "artifacts", Key: "a b/../é.zip", Body: body })
    await s3.putObject({ Bucket: "artifacts", Key: "huge", Body: Buffer.alloc(400_001) })
    const kept = { directory, maxBytes: 400_000 }
    if (which === "another S3") {
      const created = createRemoteArtifacts({ endpoint: api.url, region, ...credentials, ...kept })
      remote = created
      artifacts = created
    } else artifacts = createBuiltInArtifacts(api.store, kept)
  })
  afterAll(async () => {
    remote?.[Symbol.dispose]()
    await api[Symbol.asyncDispose]()
  })

  it("is a private copy that goes when it is disposed of", async () => {
    const path = await (async () => {
      await using artifact = await open("s3://artifacts/a b/../é.zip")
      expect(artifact).toMatchObject({ bytes: 300_000, etag: expect.stringMatching(/^[0-9a-f]{32}$/) })
      expect((await readFile(artifact.path)).equals(body)).toBe(true)
      expect((await stat(artifact.path)).mode & 0o777).toBe(0o600)
      return artifact.path
    })()
    await expect(stat(path)).rejects.toThrow("ENOENT")
  })

  it.each([
    ["s3://artifacts/none", "S3_NO_SUCH_KEY"],
    ["s3://nowhere/app.zip", "S3_NO_SUCH_BUCKET"],
    ["s3://artifacts/huge", "S3_INVALID_OBJECT"],
    ["s3://artifacts/", "S3_INVALID_OBJECT"],
    ["https://artifacts/app.zip", "S3_INVALID_OBJECT"],
  ])("%s is refused as %s", async (uri, code) => {
    await expect(open(uri)).rejects.toMatchObject({ name: "ArtifactError", code })
    expect(await readdir(directory)).toEqual([])
  })

  it("isn't fetched any further when told to stop, and leaves nothing", async () => {
    // Told before it begins, and at some moment of it: a file that is only being opened then comes to be behind its removal.
    const fetched = Array.from({ length: 40 }, async (_, turns) => {
      const stop = new AbortController()
      const fetching = open("s3://artifacts/a b/../é.zip", stop.signal)
      for (let turn = 0; turn < turns; turn++) await setImmediate()
      stop.abort()
      await using _artifact = await fetching.catch(() => undefined)
    })
    await Promise.all(fetched)
    await expect(open("s3://artifacts/a b/../é.zip", AbortSignal.abort())).rejects.toThrow()
    expect(await readdir(directory)).toEqual([])
  })
})

describe("Another S3", () => {
  it("that refuses the operator's credentials is said to", async () => {
    await using api = await startApi()
    using artifacts = createRemoteArtifacts({
      endpoint: api.url,
      region,
      accessKeyId: credentials.accessKeyId,
      secretAccessKey: "wrong",
      directory: api.directory,
      maxBytes: 1,
    })
    await expect(artifacts.openArtifact("s3://a-bucket/key", scope, never)).rejects.toMatchObject({
      code: "S3_ACCESS_DENIED",
    })
  })
})
