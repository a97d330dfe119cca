/** What the file that TORPOR_CONFIG names may say: everything that is not in the environment. */
import { isIP, isIPv4 } from "node:net"
import { resolve } from "node:path"
import { z } from "zod"

const MAX_PORT = 65535
/** Two addresses a slot: at least one slot, and no more than have an index of five digits, which is all that fits into a link's name. */
const SLOT_PREFIXES = { shortest: 15, longest: 30 }

const portNumber = z.number().int().min(1).max(MAX_PORT)
export const text = z.string().min(1)
export const webAddress = z.url({ protocol: /^https?$/, error: "must begin with http:// or https://" })
/** QEMU takes a comma for the end of a path, and mount(8) a line's end. */
export const path = text
  .refine((value) => !/[,\n\0]/.test(value), "must be a path without commas or line breaks")
  .transform((value) => resolve(value))
const range = z.string().refine((value) => parsePrefix(value) !== undefined, "must be an IPv4 range like 10.1.2.0/24")
const registryHost = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d{1,5})?$/, "must be a registry's host in lower case, maybe with a port")
const mirror = z
  .string()
  .regex(
    /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d{1,5})?(\/[a-z0-9._/-]+)?$/,
    "must be a host in lower case, maybe with a path",
  )

/** Digits and nothing else: `Number` would also take a blank for 0, and 0x50. */
export const isPort = (value: string) => /^\d{1,5}$/.test(value) && Number(value) <= MAX_PORT

/** The prefix length of an IPv4 range; `undefined` when the text is no range, or has bits set after its prefix. */
const parsePrefix = (value: string): number | undefined => {
  const [, address = "", length = "32"] = /^([\d.]+)(?:\/(\d{1,2}))?$/.exec(value) ?? []
  const bits = Number(length)
  if (!isIPv4(address) || bits > 32) return undefined
  const first = address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0)
  return first % 2 ** (32 - bits) === 0 ? bits : undefined
}

const isSlotRange = (value: string) => {
  const bits = parsePrefix(value) ?? 32
  return bits >= SLOT_PREFIXES.shortest && bits <= SLOT_PREFIXES.longest
}

const isNameServer = (value: string): boolean => {
  const [address = "", serverPort, ...more] = value.split(":")
  return isIP(value) > 0 || (isIPv4(address) && serverPort !== undefined && isPort(serverPort) && more.length === 0)
}

/** A service of AWS's, or one that speaks as it does. */
/** As https://www.standardwebhooks.com has it behind `whsec_`; else any text. */
const webhookSecret = text.refine(
  (secret) => !secret.startsWith("whsec_") || /^whsec_[A-Za-z0-9+/]{6,}={0,2}$/.test(secret),
  "must be base64 behind whsec_",
)
const service = z.strictObject({ endpoint: webAddress, accessKeyId: text, secretAccessKey: text })

/** The file named by TORPOR_CONFIG. Every member has a default; what is not here is an error. */
export const SettingsFile = z.strictObject({
  /** Where guests' packages come from. */
  debian: z
    .strictObject({ mirror: webAddress.default("http://deb.debian.org/debian"), suite: text.default("trixie") })
    .prefault({}),
  /** A guest's memory is `minimumMemoryInMiB` times this. */
  memoryBurstFactor: z.number().min(1).max(8).default(1),
  /** Left to the host when guests take the rest. */
  hostMemoryReservedMiB: z.number().int().min(0).default(1024),
  /** How long an application without a /ready hook has to accept connections. */
  readyTimeoutSeconds: z.number().int().min(1).max(3600).default(120),
  maxConcurrentBuilds: z.number().int().min(1).max(64).default(2),
  /** More are refused until one has ended. */
  maxQueuedBuilds: z.number().int().min(0).max(10_000).default(100),
  /** Of every build, below its own: HTTP_PROXY, HTTPS_PROXY and NO_PROXY are in every RUN's environment. */
  buildArguments: z.record(text, z.string()).default({}),
  /** Of one build from its turn on, and of one of its steps. */
  buildTimeoutSeconds: z.number().int().min(1).max(86_400).default(7200),
  stepTimeoutSeconds: z.number().int().min(1).max(86_400).default(1800),
  /** The largest code artifact. */
  maxArtifactMiB: z.number().int().min(1).max(8192).default(2048),
  /** What `RUN --mount=type=secret` finds by its id: files, read when a step asks. Every image's author may ask. */
  secrets: z.record(text, path).default({}),
  /** Bodies of requests to the API that are in memory until they are answered, but uploads to the artifact store. */
  maxApiBodiesMiB: z.number().int().min(128).max(1_000_000).default(512),
  /** Who reads `GET /metrics` unsigned besides this machine itself: it names every account's MicroVMs. */
  metrics: z.strictObject({ readers: z.array(range).max(100).default([]) }).prefault({}),
  /** Of images and runtimes in use, processes that are started before a VM is launched or woken; none are made while half of the host's memory is taken. */
  spares: z
    .strictObject({
      max: z.number().int().min(0).max(100).default(4),
      maxPerImage: z.number().int().min(1).max(100).default(2),
      /** How long one waits for its VM. */
      idleSeconds: z.number().int().min(1).max(28_800).default(600),
    })
    .prefault({}),
  /** Processes of suspended MicroVMs, kept in memory beside their snapshots for a faster wake; the longest asleep are ended when somebody else needs memory. */
  lightSleep: z
    .strictObject({
      max: z.number().int().min(0).max(10_000).default(100),
      /** Of the memory that VMs may have, all of them together. */
      maxMemoryShare: z.number().min(0).max(1).default(0.5),
      /** How long one is kept. */
      seconds: z.number().int().min(1).max(28_800).default(600),
    })
    .prefault({}),
  maxRequestsPerVm: z.number().int().min(1).max(100_000).default(512),
  /** What strangers may take of the edge, and users of each other. */
  edge: z
    .strictObject({
      /** Open at once; of all VMs together. */
      maxRequests: z.number().int().min(1).max(1_000_000).default(16_384),
      maxRequestsPerToken: z.number().int().min(1).max(100_000).default(256),
      /** One too many takes the place of one that is not in use. */
      maxConnections: z.number().int().min(1).max(1_000_000).default(16_384),
      /** Those on which a request to the VM, or with the token, was let in. */
      maxConnectionsPerVm: z.number().int().min(1).max(100_000).default(1024),
      maxConnectionsPerToken: z.number().int().min(1).max(100_000).default(512),
      /** Unlimited when left out; after a rest a second's worth may come at once. */
      requestsPerSecondPerVm: z.number().min(0.1).max(1_000_000).optional(),
      /** Each way, of bodies and WebSockets; unlimited when left out. Who sends more is held back. */
      bandwidthMiBPerSecondPerVm: z.number().min(0.01).max(100_000).optional(),
      /** Bodies of requests to function URLs, and answers of theirs, that are in memory; at most half of it for one URL. */
      maxUrlMiB: z.number().int().min(16).max(1_000_000).default(512),
      /** Of one request: its line and its headers together. */
      maxHeaderKiB: z.number().int().min(8).max(1024).default(32),
      handshakeTimeoutSeconds: z.number().int().min(1).max(600).default(10),
      /** From a request's first byte to the end of its headers. */
      headersTimeoutSeconds: z.number().int().min(1).max(600).default(20),
      /** Of a connection without a request. */
      idleTimeoutSeconds: z.number().int().min(1).max(3600).default(65),
      /** Of a connection to a VM's application: it is on this host, and only one that gets no processor takes long. */
      connectTimeoutSeconds: z.number().int().min(1).max(600).default(10),
    })
    .prefault({}),
  /** What an account may have of functions, in all regions. */
  functions: z
    .strictObject({
      /** Events being handled at once. */
      concurrentExecutions: z.number().int().min(1).max(1_000_000).default(1000),
      /** What reserved and provisioned concurrency must leave of it to functions that have none. */
      unreservedExecutions: z.number().int().min(0).default(100),
      /** Zips of all versions of functions and layers together, each counted. */
      maxCodeMiB: z.number().int().min(1).default(76_800),
      /** Versions of functions and layers together. */
      maxVersions: z.number().int().min(1).default(50_000),
      /** Of one function. */
      maxAliases: z.number().int().min(1).default(1000),
      /** Runtimes by names that Torpor has none for, each as it is in an image: `{"python3.12": "arn:aws:lambda:…:microvm-image:NAME"}`. */
      runtimes: z
        .record(
          z.string().regex(/^[a-z][a-z0-9.]{1,31}$/),
          z.string().regex(/^arn:aws:lambda:[a-z0-9-]+:\d{12}:microvm-image:[A-Za-z0-9_-]+$/, {
            error: "must be an image's ARN",
          }),
        )
        .default({}),
    })
    .refine(({ concurrentExecutions, unreservedExecutions }) => unreservedExecutions <= concurrentExecutions, {
      path: ["unreservedExecutions"],
      error: "must be at most concurrentExecutions",
    })
    .prefault({}),
  /** Credentials that functions with these roles have, by the roles' ARNs; the others have none. */
  roles: z
    .record(
      z.string().regex(/^arn:aws[a-z-]*:iam::\d{12}:role\/\S+$/),
      z.strictObject({ accessKeyId: text, secretAccessKey: text, sessionToken: text.optional() }),
    )
    .default({}),
  /** Execution environments of functions. */
  environments: z
    .strictObject({
      /** How long one is kept without an event. */
      idleSeconds: z.number().int().min(1).max(28_800).default(300),
      /** How long one lives in any case; it is given no event in the last quarter of an hour. */
      lifetimeSeconds: z.number().int().min(1800).max(28_800).default(28_800),
      /** For extensions, runtime and handler to be ready; what takes longer begins again within the first event, and its time. */
      initSeconds: z.number().int().min(1).max(900).default(10),
      /** Of runtimes in use, or soon to be, VMs that are kept loaded and only need a function, and of versions' snapshots as many that only need an event; none are made while half of the host's memory is taken. */
      maxWarmVms: z.number().int().min(0).max(100).default(2),
      /** How long one waits for it. */
      warmSeconds: z.number().int().min(1).max(28_800).default(600),
      /** Being started at once, of all functions. */
      maxConcurrentStarts: z.number().int().min(1).max(1000).default(8),
      /** Of one function. */
      startsPerTenSeconds: z.number().int().min(10).max(100_000).default(1000),
      /** Events that wait for one, of all functions together. */
      maxWaiting: z.number().int().min(1).max(1_000_000).default(10_000),
      maxWaitingMiB: z.number().int().min(1).default(256),
      waitSeconds: z.number().int().min(1).max(900).default(60),
      /** What they are launched from, in the data directory, and with builds' booted guests in the cache; the least recently used go first, and none that was used within the last hour. */
      maxBasesMiB: z.number().int().min(0).default(20_480),
      /** Their code and layers as file systems, beside those that environments and snapshots have; the least recently used go first, and none that was used within the last quarter of an hour. */
      maxDisksMiB: z.number().int().min(0).default(20_480),
      /** Memory that is kept of a version's first Init, which its later environments are launched from. */
      versionSnapshots: z
        .strictObject({
          /** Of every version whose Init takes long; a function's own `TORPOR_SNAPSHOTS=off` is heeded in any case. */
          automatic: z.boolean().default(true),
          /** An Init that takes less is done by every environment. */
          minInitSeconds: z.number().min(0.1).max(900).default(1),
          /** Of all together; the least recently used go first. */
          maxMiB: z.number().int().min(0).default(20_480),
          /** How long one is kept that nobody uses. */
          unusedDays: z.number().int().min(1).max(3650).default(14),
        })
        .prefault({}),
      /** What functions are used for is known for so long. */
      usageDays: z.number().int().min(1).max(3650).default(90),
    })
    .prefault({}),
  /** Asynchronous invocations of functions that wait, and what is told of those that are over. */
  events: z
    .strictObject({
      /** Of one function; more are refused. */
      maxPerFunction: z.number().int().min(1).default(100_000),
      maxMiBPerFunction: z.number().int().min(1).default(512),
      /** Of all functions together. */
      max: z.number().int().min(1).default(1_000_000),
      maxMiB: z.number().int().min(1).default(4096),
      /** Being delivered at once; of them one function has at most half. */
      maxInFlight: z.number().int().min(2).max(10_000).default(256),
    })
    .prefault({}),
  /** Where results of asynchronous invocations may be sent, beside functions. */
  destinations: z
    .strictObject({
      /** For `arn:aws:sqs:…` and `arn:aws:sns:…`. */
      sqs: service.optional(),
      sns: service.optional(),
      /** `arn:aws:torpor:::webhook/NAME`, by name; signed as https://www.standardwebhooks.com says. */
      webhooks: z
        .record(z.string().regex(/^[A-Za-z0-9_-]{1,64}$/), z.strictObject({ url: webAddress, secret: webhookSecret }))
        .default({}),
    })
    .prefault({}),
  /** What applications and builds say is kept as long as all three allow. */
  logs: z
    .strictObject({
      /** Of one VM or build. What is more loses its oldest lines, and a build its middle. */
      maxMiBEach: z.number().int().min(1).max(1024).default(8),
      /** Of one group, such as an image's; the oldest go first. */
      maxMiBPerGroup: z.number().int().min(1).default(256),
      /** Of all together; the oldest go first. */
      maxMiB: z.number().int().min(1).default(1024),
      days: z.number().int().min(1).max(3650).default(7),
    })
    .prefault({}),
  /** What is remembered of what is over; the oldest are forgotten, once an hour and after every thousand rows of the audit log. */
  history: z
    .strictObject({
      /** Of the audit log, both. */
      auditDays: z.number().int().min(1).max(36_500).default(365),
      maxAuditRows: z.number().int().min(1000).default(1_000_000),
      /** Of terminated MicroVMs, both; those of the last day are kept in any case. Client tokens answer for as long. */
      microvmDays: z.number().int().min(1).max(36_500).default(30),
      maxMicrovms: z.number().int().min(0).default(100_000),
    })
    .prefault({}),
  /** The built-in store of artifacts. */
  artifacts: z
    .strictObject({
      /** Of one account, uploads under way included. Functions' code counts as one account's. */
      maxMiBPerAccount: z.number().int().min(1).default(102_400),
      /** The same of objects, uploads under way, and parts of them. */
      maxFilesPerAccount: z.number().int().min(1).default(100_000),
      maxBucketsPerAccount: z.number().int().min(1).default(100),
      /** How long an upload in parts may be under way. */
      uploadHours: z.number().int().min(1).max(500).default(24),
    })
    .prefault({}),
  /** What build steps have made is kept for later builds. */
  layers: z
    .strictObject({
      /** Of all together; the least recently used go first, and none that a base or a running build needs. */
      maxMiB: z.number().int().min(0).default(20_480),
      /** Of what `RUN --mount=type=cache` keeps, of all images together; the least recently used go first. */
      maxCachesMiB: z.number().int().min(0).default(20_480),
    })
    .prefault({}),
  /** MicroVM images, and base images from registries. */
  images: z
    .strictObject({
      /** Of an account, in all regions. */
      maxImages: z.number().int().min(1).default(1000),
      /** Of one image, those that failed too. */
      maxVersions: z.number().int().min(1).default(1000),
      /** Of an account: memory and disk of its images' snapshots, each as its build says them. */
      maxBasesMiB: z.number().int().min(1).default(204_800),
      /** The largest base image, all layers together as they are fetched. */
      maxMiB: z.number().int().min(1).default(8192),
      /** Of what is kept of all base images; the least recently used go first, and none that was used within the last hour. */
      maxCacheMiB: z.number().int().min(0).default(32_768),
      fetchTimeoutSeconds: z.number().int().min(1).max(86_400).default(1800),
      /** What is said of a registry, by its host (and port). Addresses that guests may not reach are fetched from only when they are here. */
      registries: z
        .record(
          registryHost,
          z
            .strictObject({
              username: text.optional(),
              password: z.string().optional(),
              /** A file with the password, instead of `password`; a newline at its end is left out. */
              passwordFile: path.optional(),
              /** Of its certificate, beside those that the system trusts. */
              caFile: path.optional(),
              /** Plain HTTP is taken too. */
              insecure: z.boolean().default(false),
              /** Asked first, in this order: hosts, maybe with a path. What is said of them is under their own names. */
              mirrors: z.array(mirror).default([]),
            })
            .refine(
              ({ username, password, passwordFile }) =>
                (password === undefined || passwordFile === undefined) &&
                (username === undefined) === ((password ?? passwordFile) === undefined),
              "must have a username together with either password or passwordFile",
            ),
        )
        .default({}),
    })
    .prefault({}),
  egress: z
    .strictObject({
      /** Ranges inside the refused ones that guests may reach: a mirror, a proxy. */
      allow: z.array(z.strictObject({ cidr: range, ports: z.array(portNumber).min(1).optional() })).default([]),
      newConnectionsPerSecond: z.number().int().min(1).default(200),
      maxConnections: z.number().int().min(1).default(4096),
    })
    .prefault({}),
  /** `address`, `address:port` or `[address]:port`, asked in this order; none: the host's own. */
  nameServers: z
    .array(z.string().refine((value) => isNameServer(value), "must be an address, or an IPv4 address and a port"))
    .default([]),
  slots: z
    .strictObject({
      /** Network namespaces kept ready. */
      ready: z.number().int().min(0).max(64).default(4),
      /** Each slot has one user id from here on, 65,536 of them; of the next thousand, each daemon has one that fetches images. */
      uidBase: z
        .number()
        .int()
        .min(1000)
        .max(2 ** 31)
        .default(600_000),
      addressRange: range
        .refine((value) => isSlotRange(value), "must have a prefix from /15 to /30")
        .default("100.127.0.0/16"),
    })
    .prefault({}),
})

export type Settings = z.infer<typeof SettingsFile>
