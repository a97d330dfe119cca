/** What an operator decides: a few environment variables (the outside contract), and one JSON file for everything else. */
import { z } from "zod"
import { OperatorError } from "./errors.ts"
import { failpoints, type Failpoint } from "./failpoint.ts"
import { isPort, path, SettingsFile, text, webAddress, type Settings } from "./settings.ts"

const port = z
  .string()
  .refine((value) => isPort(value), "must be a port from 0 to 65535")
  .transform(Number)
const onOrOff = z.enum(["0", "1"], { error: "must be 0 or 1" })
const NPM_VARIABLE = /^(npm_config_.*|https?_proxy|no_proxy|node_extra_ca_certs)$/i
const LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"

const Environment = z.object({
  TORPOR_API_ADDRESS: text.default("127.0.0.1"),
  TORPOR_API_PORT: port.default(7070),
  TORPOR_EDGE_ADDRESS: text.default("127.0.0.1"),
  TORPOR_EDGE_PORT: port.default(7443),
  TORPOR_DOMAIN: z
    .string()
    .regex(new RegExp(`^${LABEL}(\\.${LABEL})*$`), "must be a lower-case domain name")
    .default("localhost"),
  TORPOR_DATA_DIR: path.default("/var/lib/torpor"),
  TORPOR_CACHE_DIR: path.default("/var/cache/torpor"),
  TORPOR_LOG_LEVEL: z
    .enum(["debug", "info", "warn", "error", "silent"], { error: "must be debug, info, warn, error or silent" })
    .default("info"),
  TORPOR_LENIENT: onOrOff.default("0"),
  TORPOR_NO_INSTALL: onOrOff.default("0"),
  DATABASE_URL: z
    .string()
    .regex(/^postgres(ql)?:\/\//, "must begin with postgres://")
    .optional(),
  TORPOR_S3_ENDPOINT: webAddress.optional(),
  TORPOR_ACCESS_KEY_ID: text.optional(),
  TORPOR_SECRET_ACCESS_KEY: text.optional(),
  TORPOR_TLS_CERT: text.optional(),
  TORPOR_TLS_KEY: text.optional(),
  TORPOR_FAIL_AT: z.enum(failpoints, { error: `must be one of: ${failpoints.join(", ")}` }).optional(),
})

/** An address and a port to listen on. */
interface Listening {
  readonly address: string
  readonly port: number
}

export interface Config extends Settings {
  readonly api: Listening
  readonly edge: Settings["edge"] & Listening
  readonly domain: string
  readonly dataDirectory: string
  readonly cacheDirectory: string
  readonly logLevel: string
  readonly lenient: boolean
  readonly install: boolean
  /** What npm goes by where it fetches a runtime: proxies, a certificate authority, settings of its own. */
  readonly npmEnvironment: Readonly<Record<string, string>>
  readonly databaseUrl: string | undefined
  readonly s3Endpoint: string | undefined
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string } | undefined
  readonly tls: { readonly certificateFile: string; readonly keyFile: string } | undefined
  readonly failAt: Failpoint | undefined
}

/** Reads both; throws an {@link OperatorError} that names the first thing that is wrong. */
export const parseConfig = (environment: Readonly<Record<string, string | undefined>>, fileText?: string): Config => {
  const given = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ""))
  const env = check(Environment, given, "the environment")
  const file = check(SettingsFile, fileText === undefined ? {} : parseJson(fileText), "TORPOR_CONFIG")
  return {
    ...file,
    api: { address: env.TORPOR_API_ADDRESS, port: env.TORPOR_API_PORT },
    edge: { ...file.edge, address: env.TORPOR_EDGE_ADDRESS, port: env.TORPOR_EDGE_PORT },
    domain: env.TORPOR_DOMAIN,
    dataDirectory: env.TORPOR_DATA_DIR,
    cacheDirectory: env.TORPOR_CACHE_DIR,
    logLevel: env.TORPOR_LOG_LEVEL,
    lenient: env.TORPOR_LENIENT === "1",
    install: env.TORPOR_NO_INSTALL !== "1",
    npmEnvironment: Object.fromEntries(
      Object.entries(environment).flatMap(([name, value]) =>
        value !== undefined && NPM_VARIABLE.test(name) ? [[name, value]] : [],
      ),
    ),
    databaseUrl: env.DATABASE_URL,
    s3Endpoint: env.TORPOR_S3_ENDPOINT,
    credentials: pair(
      "TORPOR_ACCESS_KEY_ID",
      env.TORPOR_ACCESS_KEY_ID,
      "TORPOR_SECRET_ACCESS_KEY",
      env.TORPOR_SECRET_ACCESS_KEY,
      (accessKeyId, secretAccessKey) => ({ accessKeyId, secretAccessKey }),
    ),
    tls: pair(
      "TORPOR_TLS_CERT",
      env.TORPOR_TLS_CERT,
      "TORPOR_TLS_KEY",
      env.TORPOR_TLS_KEY,
      (certificateFile, keyFile) => ({ certificateFile, keyFile }),
    ),
    failAt: env.TORPOR_FAIL_AT,
  }
}

const check = <Schema extends z.ZodType>(schema: Schema, value: unknown, where: string): z.infer<Schema> => {
  // What zod would compile of a schema pays for itself when that is used often.
  const { data, error } = schema.safeParse(value, { jitless: true })
  if (error === undefined) return data
  const [issue] = error.issues
  throw new OperatorError(
    `${issue?.path.join(".") || "The document"} in ${where} is wrong: ${issue?.message ?? "invalid"}.`,
  )
}

const parseJson = (fileText: string): unknown => {
  try {
    return JSON.parse(fileText)
  } catch (error) {
    throw new OperatorError(`The file of TORPOR_CONFIG is no JSON: ${(error as Error).message}.`)
  }
}

const pair = <Pair>(
  firstName: string,
  first: string | undefined,
  secondName: string,
  second: string | undefined,
  join: (first: string, second: string) => Pair,
): Pair | undefined => {
  if (first === undefined && second === undefined) return undefined
  if (first === undefined || second === undefined)
    throw new OperatorError(
      `${firstName} and ${secondName} go together: set ${first === undefined ? firstName : secondName} too.`,
    )
  return join(first, second)
}
