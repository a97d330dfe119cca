import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pino } from "pino"
import { expect } from "vitest"
import { createImageVersionMachine, type BuildVerbs } from "../../machines/image-version.ts"
import { saveImageVersion } from "../../machines/images/image-row.ts"
import { createImages } from "../../machines/images/images.ts"
import { createRegistry } from "../../machines/registry.ts"
import type { RecipeRequest } from "../../machines/resources.ts"
import { removeLeftBases } from "../../machines/unused-bases.ts"
import { registerHost } from "../../src/db/identity.ts"
import { createLogs } from "../../src/logs/logs.ts"
import { openTestDatabase } from "../db/database.ts"
import { eventually } from "../fixtures/eventually.ts"

export const caller = { account: "000000000000", region: "us-east-1", accessKeyId: "AKIA", requestId: "request" }
const log = pino({ level: "silent" })
export const recipe: RecipeRequest = {
  baseImageArn: "arn:aws:lambda:us-east-1:aws:microvm-image:debian-13",
  baseImageVersion: undefined,
  buildRoleArn: "arn:aws:iam::000000000000:role/build",
  codeArtifactUri: "s3://bucket/app.zip",
  memoryMiB: 512,
  environment: { KEY: "value" },
  settings: {
    description: null,
    logging: null,
    egressConnectors: [],
    architectures: null,
    capabilities: "default",
    additionalCapabilities: null,
  },
  clientToken: undefined,
}

/** Images on a real Postgres, whose builds go on until somebody says how they end. */
export const openImages = async () => {
  let building = Promise.withResolvers<void>()
  const database = await openTestDatabase()
  const { db, hostId } = database
  const dataDirectory = await mkdtemp(join(tmpdir(), "torpor-images-"))
  await registerHost(db, hostId, "test")
  const limits = { bytesPerLog: 1e6, bytesPerGroup: 1e6, bytesPerHost: 1e6, days: 1 }
  const logs = createLogs({ db, hostId, limits, log })
  const done = () => Promise.resolve()
  const verbs: BuildVerbs = {
    queue: done,
    fetch: done,
    build: () => building.promise,
    start: done,
    capture: done,
    clean: done,
  }
  const registry = createRegistry(
    {
      name: "image-version",
      machine: createImageVersionMachine(verbs),
      save: (id, generation, snapshot, persisted) =>
        db.transaction((tx) => saveImageVersion(tx, id, generation, snapshot, persisted)),
    },
    log,
  )
  const secrets = { seal: (text: string) => Buffer.from(text), open: (sealed: Buffer) => sealed.toString() }
  const images = createImages({
    db,
    hostId,
    architecture: "x86_64",
    quota: { maxUnfinished: 2, maxImages: 20, maxVersions: 3, maxBasesBytes: 1000 },
    registry,
    secrets,
    logs,
    removeBases: (ids) => removeLeftBases({ db, hostId, dataDirectory }, ids),
  })
  const begin = () => (building = Promise.withResolvers<void>())
  const untilState = (name: string, wanted: string, by = caller) =>
    eventually(
      async () => {
        const image = await images.get(name, by)
        expect(image.state).toBe(wanted)
        return image
      },
      { interval: 5 },
    )
  return {
    database,
    /** Where bases would have their files. */
    dataDirectory,
    images,
    /** How the next build ends. */
    get building() {
      return building
    },
    /** Another than the last. */
    begin,
    untilState,
    async built(name: string) {
      begin().resolve()
      await images.create({ ...recipe, name, tags: {} }, caller)
      await untilState(name, "CREATED")
    },
    async [Symbol.asyncDispose]() {
      await registry.close()
      await logs[Symbol.asyncDispose]()
      await database[Symbol.asyncDispose]()
      await rm(dataDirectory, { recursive: true })
    },
  }
}

export type ImagesUnderTest = Awaited<ReturnType<typeof openImages>>
