/** What a daemon stands on before it looks at any VM: its directory, artefacts, database, certificates, and the means to run VMs. */
import { hostname } from "node:os"
import { join } from "node:path"
import type { PostgresJsDatabase } from "drizzle-orm/postgres-js"
import { ensureArtifacts, type Artifacts } from "../images/artifacts.ts"
import { ACCOUNT } from "../machines/arn.ts"
import { ensureCertificates, type Certificates } from "../proxy/certificates.ts"
import { atOnce } from "./at-once.ts"
import type { Config } from "./config.ts"
import { openDataDirectory, type DataDirectory } from "./data-directory.ts"
import { createAccessKeys, registerHost } from "./db/identity.ts"
import { openDatabase } from "./db/open.ts"
import { readGivenCertificate } from "./given-certificate.ts"
import type { Log } from "./log.ts"
import { createSecrets, type Secrets } from "./secrets.ts"
import { openVmGround, type VmGround } from "./vm-ground.ts"

export interface Ground extends AsyncDisposable {
  readonly data: DataDirectory
  readonly secrets: Secrets
  readonly base: Artifacts
  readonly db: PostgresJsDatabase
  readonly keys: ReturnType<typeof createAccessKeys>
  readonly certificates: Certificates
  readonly vms: VmGround
}

/**
 * Opens it; what doesn't wait for the rest is opened at once, since all of it lies between a start and the first answer. Only what has all
 * artefacts starts a Postgres. Disposing leaves VMs and the private Postgres as they are.
 */
export const openGround = async (
  config: Config,
  log: Log,
  progress: (line: string) => void,
  signal: AbortSignal,
): Promise<Ground> => {
  await using opened = new AsyncDisposableStack()
  const used = async <Opened extends AsyncDisposable>(opening: Promise<Opened>) => opened.use(await opening)
  const [data, base] = await atOnce(
    (whole) => [
      used(openDataDirectory(config.dataDirectory, config.credentials, whole)),
      ensureArtifacts({ cacheDirectory: config.cacheDirectory, debian: config.debian }, progress, whole),
    ],
    signal,
  )
  const { hostId, path } = data
  const secrets = createSecrets(data.key)
  const address = config.databaseUrl === undefined ? { dataDirectory: path, hostId } : { url: config.databaseUrl }
  const openIdentity = async (whole: AbortSignal) => {
    const { db } = await used(openDatabase(address, whole, log))
    await registerHost(db, hostId, hostname())
    const keys = createAccessKeys(db, secrets)
    await keys.put(data.credentials, ACCOUNT)
    return { db, keys }
  }
  const [{ db, keys }, certificates, vms] = await atOnce(
    (whole) => [
      openIdentity(whole),
      certificatesOf(config, path),
      used(openVmGround({ config, base, hostId, dataDirectory: path, log }, whole)),
    ],
    signal,
  )
  const held = opened.move()
  return {
    data,
    secrets,
    base,
    db,
    keys,
    certificates,
    vms,
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}

const certificatesOf = async ({ tls, domain }: Config, dataDirectory: string): Promise<Certificates> =>
  tls === undefined
    ? ensureCertificates(join(dataDirectory, "tls"), domain)
    : { ...(await readGivenCertificate(tls)), caFile: undefined }
