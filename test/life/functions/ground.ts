/** What an environment stands on, without the daemon around it: a runtime's base, the disks of one function, and its definitions. */
import { randomUUID } from "node:crypto"
import { chmod, copyFile, mkdir } from "node:fs/promises"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { makeExt4 } from "../../../images/ext4.ts"
import { ensureRuntime } from "../../../images/runtimes/runtime-disks.ts"
import { takeRuntimeBase } from "../../../machines/environments/base-making.ts"
import type { EnvironmentEvent } from "../../../machines/environments/environments.ts"
import { openEnvironments } from "../../../machines/environments/open-environments.ts"
import { createRuntimeBases } from "../../../machines/environments/runtime-bases.ts"
import { defaultSettings } from "../../../machines/functions/default-settings.ts"
import type { Definition } from "../../../machines/functions/definition.ts"
import { FUNCTION_PLACES, type FunctionDisks } from "../../../machines/functions/disks/function-disks.ts"
import { functionArn } from "../../../machines/functions/names.ts"
import { createWork } from "../../../machines/work.ts"
import { parseConfig } from "../../../src/config.ts"
import { createSecrets } from "../../../src/secrets.ts"
import type { VmHostUnderTest } from "../../environments/vm-host-under-test.ts"

const DRIVE_MIB = 10 * 1024
const { signal } = new AbortController()

export const scope = { account: "000000000000", region: "us-east-1" }
const settings: Definition["settings"] = {
  ...defaultSettings,
  runtime: "provided.al2023",
  handler: "any",
  role: "arn:aws:iam::000000000000:role/function",
}

/** A function whose code is bootstrap.py. */
export const definitionOf = (name: string, environment: Record<string, string> = {}): Definition => ({
  id: name,
  scope,
  functionId: randomUUID(),
  versionId: randomUUID(),
  name,
  version: "$LATEST",
  settings,
  environment,
  code: "code",
  layers: [],
})

export const eventOf = (
  name: string,
  payload: Record<string, unknown>,
  { mode = "buffered", timeoutMs = 60_000 }: { mode?: "buffered" | "streaming"; timeoutMs?: number } = {},
): EnvironmentEvent => ({
  spec: { requestId: randomUUID(), functionArn: functionArn(scope, name), mode },
  payload: Buffer.from(JSON.stringify(payload)),
  timeoutMs,
})

/** The environments of a host, as a daemon opens them. */
export const openEnvironmentsUnderTest = async (under: VmHostUnderTest) => {
  const { host, artifacts, places, snapshots, createOverlay, place } = under
  const config = parseConfig({ TORPOR_CACHE_DIR: process.env["TORPOR_CACHE_DIR"] })
  const bases = createRuntimeBases({
    host,
    places,
    systemDisk: artifacts.systemDisk,
    disksOf: () => ensureRuntime("provided.al2023", { ...config, npmEnvironment: {} }, () => {}, signal),
    make: (options, within) => takeRuntimeBase({ host, artifacts, snapshots, createOverlay }, options, within),
    maxBytes: Infinity,
    signal,
  })
  const work = createWork()
  const environments = await openEnvironments(
    {
      db: host.db,
      host,
      places,
      emptyDrive: artifacts.emptyDrive,
      createOverlay,
      secrets: createSecrets(Buffer.from(place.key, "hex")),
      disks: { of: () => makeDisks(join(place.directory, "disks")) },
      bases,
      roles: { [settings.role]: { accessKeyId: "AKIAFUNCTION", secretAccessKey: "secret" } },
      work,
      limits: { idleMs: 3_600_000, lifetimeMs: 8 * 3_600_000, initMs: 120_000 },
    },
    signal,
  )
  return {
    ...environments,
    async [Symbol.asyncDispose]() {
      await environments[Symbol.asyncDispose]()
      await work.settled(30_000)
    },
  }
}

const makeDisks = async (directory: string): Promise<FunctionDisks> => {
  const disks = { code: join(directory, "code.raw"), layers: null, temporary: join(directory, "temporary.raw") }
  if (existsSync(directory)) return disks
  const files = join(directory, "code", FUNCTION_PLACES.files)
  const temporary = join(directory, "temporary", FUNCTION_PLACES.temporary)
  await mkdir(files, { recursive: true })
  await mkdir(temporary, { recursive: true })
  await chmod(temporary, 0o1777)
  await copyFile(new URL("bootstrap.py", import.meta.url), join(files, "bootstrap"))
  await chmod(join(files, "bootstrap"), 0o755)
  for (const [name, sizeMiB] of Object.entries({ code: DRIVE_MIB, temporary: DRIVE_MIB })) {
    await makeExt4(join(directory, `${name}.raw`), { tree: join(directory, name), sizeMiB, label: name }, signal)
    await chmod(join(directory, `${name}.raw`), 0o444)
  }
  return disks
}
