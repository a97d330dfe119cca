import { describe, expect, test } from "vitest"
import { parseConfig, type Config } from "../src/config.ts"

const fromFile = (document: unknown) => parseConfig({}, JSON.stringify(document))

describe("An environment variable", () => {
  const accepted: readonly [
    variable: string,
    value: string,
    member: (config: Config) => unknown,
    read: unknown,
    unset: unknown,
  ][] = [
    ["TORPOR_API_ADDRESS", "0.0.0.0", ({ api }) => api.address, "0.0.0.0", "127.0.0.1"],
    ["TORPOR_API_PORT", "0", ({ api }) => api.port, 0, 7070],
    ["TORPOR_API_PORT", "65535", ({ api }) => api.port, 65535, 7070],
    ["TORPOR_EDGE_ADDRESS", "::", ({ edge }) => edge.address, "::", "127.0.0.1"],
    ["TORPOR_EDGE_PORT", "443", ({ edge }) => edge.port, 443, 7443],
    ["TORPOR_DOMAIN", "vms.example.com", ({ domain }) => domain, "vms.example.com", "localhost"],
    ["TORPOR_DATA_DIR", "/srv/a b/torpor", ({ dataDirectory }) => dataDirectory, "/srv/a b/torpor", "/var/lib/torpor"],
    [
      "TORPOR_DATA_DIR",
      "data/../here",
      ({ dataDirectory }) => dataDirectory,
      `${process.cwd()}/here`,
      "/var/lib/torpor",
    ],
    ["TORPOR_CACHE_DIR", "/srv/cache/", ({ cacheDirectory }) => cacheDirectory, "/srv/cache", "/var/cache/torpor"],
    ["TORPOR_LOG_LEVEL", "silent", ({ logLevel }) => logLevel, "silent", "info"],
    ["TORPOR_LENIENT", "1", ({ lenient }) => lenient, true, false],
    ["TORPOR_LENIENT", "0", ({ lenient }) => lenient, false, false],
    ["TORPOR_NO_INSTALL", "1", ({ install }) => install, false, true],
    ["TORPOR_NO_INSTALL", "0", ({ install }) => install, true, true],
    ["DATABASE_URL", "postgres://a:b@h/db", ({ databaseUrl }) => databaseUrl, "postgres://a:b@h/db", undefined],
    [
      "DATABASE_URL",
      "postgresql:///db?host=/run",
      ({ databaseUrl }) => databaseUrl,
      "postgresql:///db?host=/run",
      undefined,
    ],
    [
      "TORPOR_S3_ENDPOINT",
      "https://s3.example.com",
      ({ s3Endpoint }) => s3Endpoint,
      "https://s3.example.com",
      undefined,
    ],
    ["TORPOR_FAIL_AT", "wake: loaded", ({ failAt }) => failAt, "wake: loaded", undefined],
  ]

  test.each(accepted)("%s=%s is read", (variable, value, member, read) => {
    expect(member(parseConfig({ [variable]: value }))).toEqual(read)
  })

  test.each(accepted)(
    "%s has a default, which an empty value doesn't change (%s)",
    (variable, _, member, __, unset) => {
      expect(member(parseConfig({}))).toEqual(unset)
      expect(member(parseConfig({ [variable]: "" }))).toEqual(unset)
    },
  )

  test.each([
    ["TORPOR_API_PORT", "65536"],
    ["TORPOR_API_PORT", "-1"],
    ["TORPOR_API_PORT", " "],
    ["TORPOR_API_PORT", "0x50"],
    ["TORPOR_API_PORT", "80.5"],
    ["TORPOR_EDGE_PORT", "https"],
    ["TORPOR_EDGE_PORT", "1e3"],
    ["TORPOR_DOMAIN", "Example.com"],
    ["TORPOR_DOMAIN", "a..b"],
    ["TORPOR_DOMAIN", "-a.com"],
    ["TORPOR_DOMAIN", "a_b.com"],
    ["TORPOR_DOMAIN", "a.com."],
    ["TORPOR_DOMAIN", `${"a".repeat(64)}.com`],
    ["TORPOR_DATA_DIR", "/srv/a,share=on"],
    ["TORPOR_CACHE_DIR", "/srv/a\nb"],
    ["TORPOR_LOG_LEVEL", "loud"],
    ["TORPOR_LENIENT", "yes"],
    ["TORPOR_NO_INSTALL", "true"],
    ["DATABASE_URL", "mysql://h/db"],
    ["TORPOR_S3_ENDPOINT", "s3.example.com"],
    ["TORPOR_S3_ENDPOINT", "file:///etc"],
    ["TORPOR_FAIL_AT", "somewhere"],
  ])("%s=%j is refused by its name, with what it must be", (variable, value) => {
    expect(() => parseConfig({ [variable]: value })).toThrow(
      expect.objectContaining({
        name: "OperatorError",
        message: expect.stringMatching(new RegExp(`^${variable} in the environment is wrong: must .+\\.$`)),
      }),
    )
  })

  test.each([
    ["TORPOR_ACCESS_KEY_ID", "TORPOR_SECRET_ACCESS_KEY"],
    ["TORPOR_SECRET_ACCESS_KEY", "TORPOR_ACCESS_KEY_ID"],
    ["TORPOR_TLS_CERT", "TORPOR_TLS_KEY"],
    ["TORPOR_TLS_KEY", "TORPOR_TLS_CERT"],
  ])("%s without %s is refused", (given, other) => {
    expect(() => parseConfig({ [given]: "x" })).toThrow(new RegExp(`^.* go together: set ${other} too\\.$`))
  })

  test("Two that go together are read together, and are nothing when both are left out", () => {
    const given = parseConfig({
      TORPOR_ACCESS_KEY_ID: "AKIA",
      TORPOR_SECRET_ACCESS_KEY: "secret",
      TORPOR_TLS_CERT: "/c.pem",
      TORPOR_TLS_KEY: "/k.pem",
    })
    expect(given.credentials).toEqual({ accessKeyId: "AKIA", secretAccessKey: "secret" })
    expect(given.tls).toEqual({ certificateFile: "/c.pem", keyFile: "/k.pem" })
    expect(parseConfig({})).toMatchObject({ credentials: undefined, tls: undefined })
  })

  test("Npm's own are kept for it", () => {
    const own = { npm_config_registry: "https://npm.example", HTTPS_PROXY: "http://proxy:3128" }
    expect(parseConfig({ ...own, HOME: "/root" }).npmEnvironment).toEqual(own)
  })

  test("One that isn't ours is nothing to us", () => {
    expect(parseConfig({ HOME: "/root", TORPOR_TEST_LOG: "/x", PGPORT: "1" })).toEqual(parseConfig({}))
  })
})

describe("The file of TORPOR_CONFIG", () => {
  test("It may say nothing, and then everything has a default", () => {
    expect(fromFile({})).toEqual(parseConfig({}))
    expect(fromFile({ debian: {}, egress: {}, slots: {} })).toEqual(parseConfig({}))
    expect(parseConfig({})).toMatchObject({
      debian: { mirror: "http://deb.debian.org/debian", suite: "trixie" },
      memoryBurstFactor: 1,
      hostMemoryReservedMiB: 1024,
      readyTimeoutSeconds: 120,
      maxConcurrentBuilds: 2,
      maxArtifactMiB: 2048,
      maxRequestsPerVm: 512,
      edge: {
        maxRequests: 16_384,
        maxRequestsPerToken: 256,
        maxConnections: 16_384,
        maxConnectionsPerVm: 1024,
        maxConnectionsPerToken: 512,
        maxHeaderKiB: 32,
        handshakeTimeoutSeconds: 10,
        headersTimeoutSeconds: 20,
        idleTimeoutSeconds: 65,
        connectTimeoutSeconds: 10,
      },
      functions: { concurrentExecutions: 1000, unreservedExecutions: 100 },
      egress: { allow: [], newConnectionsPerSecond: 200, maxConnections: 4096 },
      layers: { maxMiB: 20_480, maxCachesMiB: 20_480 },
      images: { maxMiB: 8192, maxCacheMiB: 32_768, fetchTimeoutSeconds: 1800, registries: {} },
      nameServers: [],
      slots: { ready: 4, uidBase: 600_000, addressRange: "100.127.0.0/16" },
    })
  })

  test.each([
    [{ debian: { mirror: "https://mirror.example.com/debian", suite: "bookworm" } }],
    [{ memoryBurstFactor: 2.5 }],
    [{ hostMemoryReservedMiB: 0 }],
    [{ readyTimeoutSeconds: 3600 }],
    [{ maxConcurrentBuilds: 64 }],
    [{ maxArtifactMiB: 8192 }],
    [{ maxRequestsPerVm: 1 }],
    [{ edge: { requestsPerSecondPerVm: 0.5, bandwidthMiBPerSecondPerVm: 0.25, maxHeaderKiB: 8 } }],
    [{ egress: { allow: [{ cidr: "10.1.0.0/16", ports: [80, 443] }, { cidr: "192.168.1.7" }] } }],
    [{ egress: { newConnectionsPerSecond: 1, maxConnections: 1 } }],
    [{ images: { maxMiB: 1, maxCacheMiB: 0, fetchTimeoutSeconds: 1 } }],
    [{ images: { registries: { "docker.io": { mirrors: ["mirror.example.com:5000/hub", "10.0.0.7"] } } } }],
    [{ images: { registries: { "ghcr.io": { username: "u", passwordFile: "/p" } } } }],
    [{ images: { registries: { "localhost:5000": { insecure: true } } } }],
    [{ images: { registries: { "a.example.com": { username: "u", password: "p", caFile: "/ca.pem" } } } }],
    [
      {
        functions: { concurrentExecutions: 50, unreservedExecutions: 0, maxCodeMiB: 1, maxVersions: 1, maxAliases: 1 },
      },
    ],
    [{ functions: { runtimes: { "python3.12": "arn:aws:lambda:us-east-1:000000000000:microvm-image:python312" } } }],
    [{ roles: { "arn:aws:iam::000000000000:role/r": { accessKeyId: "a", secretAccessKey: "b" } } }],
    [{ events: { maxPerFunction: 1, maxInFlight: 2 } }],
    [{ destinations: { sqs: { endpoint: "http://127.0.0.1:9324", accessKeyId: "a", secretAccessKey: "b" } } }],
    [{ destinations: { webhooks: { mine: { url: "https://example.com/hook", secret: "whsec_c2VjcmV0" } } } }],
    [{ nameServers: ["10.0.0.1", "10.0.0.1:5353", "fd00::1"] }],
    [{ metrics: { readers: ["10.0.0.0/8", "192.0.2.7"] } }],
    [{ slots: { ready: 0, uidBase: 1000, addressRange: "10.200.0.0/15" } }],
    [{ slots: { ready: 64, addressRange: "10.200.0.0/30" } }],
  ])("%j is read", (document) => {
    expect(fromFile(document)).toMatchObject(document)
  })

  test.each([
    ["debian.mirror", { debian: { mirror: "ftp://example.com" } }],
    ["debian.suite", { debian: { suite: "" } }],
    ["memoryBurstFactor", { memoryBurstFactor: 0.5 }],
    ["memoryBurstFactor", { memoryBurstFactor: "2" }],
    ["hostMemoryReservedMiB", { hostMemoryReservedMiB: -1 }],
    ["hostMemoryReservedMiB", { hostMemoryReservedMiB: 1.5 }],
    ["readyTimeoutSeconds", { readyTimeoutSeconds: 0 }],
    ["maxConcurrentBuilds", { maxConcurrentBuilds: 65 }],
    ["maxArtifactMiB", { maxArtifactMiB: 0 }],
    ["maxRequestsPerVm", { maxRequestsPerVm: 0 }],
    ["edge.maxRequests", { edge: { maxRequests: 0 } }],
    ["edge.maxHeaderKiB", { edge: { maxHeaderKiB: 4 } }],
    ["edge.idleTimeoutSeconds", { edge: { idleTimeoutSeconds: "65" } }],
    ["edge.bandwidthMiBPerSecondPerVm", { edge: { bandwidthMiBPerSecondPerVm: 0 } }],
    ["egress.allow.1.cidr", { egress: { allow: [{ cidr: "10.0.0.0/8" }, { cidr: "10.0.0.256/32" }] } }],
    ["egress.allow.0.cidr", { egress: { allow: [{ cidr: "10.0.0.1/24" }] } }],
    ["egress.allow.0.cidr", { egress: { allow: [{ cidr: "10.0.0.0/33" }] } }],
    ["egress.allow.0.cidr", { egress: { allow: [{ cidr: "0.0.0.0/0 accept" }] } }],
    ["egress.allow.0.ports", { egress: { allow: [{ cidr: "10.0.0.0/8", ports: [] }] } }],
    ["egress.allow.0.ports.0", { egress: { allow: [{ cidr: "10.0.0.0/8", ports: [0] }] } }],
    ["egress.newConnectionsPerSecond", { egress: { newConnectionsPerSecond: 0 } }],
    ["egress.maxConnections", { egress: { maxConnections: "all" } }],
    ["metrics.readers.0", { metrics: { readers: ["::1"] } }],
    ["images.maxMiB", { images: { maxMiB: 0 } }],
    ["layers.maxMiB", { layers: { maxMiB: -1 } }],
    ["layers.maxCachesMiB", { layers: { maxCachesMiB: -1 } }],
    ["images.maxCacheMiB", { images: { maxCacheMiB: -1 } }],
    ["images.fetchTimeoutSeconds", { images: { fetchTimeoutSeconds: 0.5 } }],
    ["images.fetchTimeoutSeconds", { images: { fetchTimeoutSeconds: 10_000_000 } }],
    ["images.registries.https://ghcr.io", { images: { registries: { "https://ghcr.io": {} } } }],
    ["images.registries.a", { images: { registries: { a: { username: "u" } } } }],
    ["images.registries.a", { images: { registries: { a: { passwordFile: "/p" } } } }],
    ["images.registries.a", { images: { registries: { a: { username: "u", password: "p", passwordFile: "/p" } } } }],
    ["images.registries.a.mirrors.0", { images: { registries: { a: { mirrors: ["http://b"] } } } }],
    ["images.registries.a.insecure", { images: { registries: { a: { insecure: "yes" } } } }],
    ["functions.concurrentExecutions", { functions: { concurrentExecutions: 0 } }],
    ["functions.unreservedExecutions", { functions: { concurrentExecutions: 50 } }],
    ["functions.maxCodeMiB", { functions: { maxCodeMiB: 0 } }],
    ["functions.runtimes.python3.12", { functions: { runtimes: { "python3.12": "python312" } } }],
    ["roles.role", { roles: { role: { accessKeyId: "a", secretAccessKey: "b" } } }],
    ["events.maxInFlight", { events: { maxInFlight: 1 } }],
    ["destinations.sns.accessKeyId", { destinations: { sns: { endpoint: "http://127.0.0.1" } } }],
    ["destinations.webhooks.a/b", { destinations: { webhooks: { "a/b": { url: "https://b", secret: "c" } } } }],
    ["destinations.webhooks.a.secret", { destinations: { webhooks: { a: { url: "https://b", secret: "whsec_" } } } }],
    ["destinations.webhooks.a.url", { destinations: { webhooks: { a: { url: "file:///b", secret: "c" } } } }],
    ["nameServers.0", { nameServers: ["dns.example.com"] }],
    ["nameServers.1", { nameServers: ["10.0.0.1", "10.0.0.1:99999"] }],
    ["nameServers.0", { nameServers: ["10.0.0.1:"] }],
    ["slots.ready", { slots: { ready: 65 } }],
    ["slots.uidBase", { slots: { uidBase: 0 } }],
    ["slots.addressRange", { slots: { addressRange: "10.0.0.0/8" } }],
    ["slots.addressRange", { slots: { addressRange: "10.0.0.0/31" } }],
    ["slots.addressRange", { slots: { addressRange: "fd00::/64" } }],
  ])("%s is refused by its name when it is %j", (member, document) => {
    expect(() => fromFile(document)).toThrow(
      expect.objectContaining({
        name: "OperatorError",
        message: expect.stringMatching(new RegExp(`^${member} in TORPOR_CONFIG is wrong: .+\\.$`)),
      }),
    )
  })

  test.each([
    ["The document", "maxRequestPerVm", { maxRequestPerVm: 1 }],
    ["debian", "mirrors", { debian: { mirrors: [] } }],
    ["egress", "alow", { egress: { alow: [] } }],
    ["egress.allow.0", "port", { egress: { allow: [{ cidr: "10.0.0.0/8", port: 80 }] } }],
    ["slots", "range", { slots: { range: "10.0.0.0/16" } }],
    ["The document", "__proto__", JSON.parse('{"__proto__": {"maxRequestsPerVm": 1}}')],
  ])("In %s an unknown member '%s' is refused by its name", (where, member, document) => {
    expect(() => fromFile(document)).toThrow(`${where} in TORPOR_CONFIG is wrong: Unrecognized key: "${member}".`)
  })

  test.each([["[]"], ["null"], ["7"]])("A document that is %s is refused", (text) => {
    expect(() => parseConfig({}, text)).toThrow(/^The document in TORPOR_CONFIG is wrong: .*expected object.*\.$/)
  })

  test.each([[""], ["{"], ["memoryBurstFactor: 2"]])("A file that holds %j is no JSON", (text) => {
    expect(() => parseConfig({}, text)).toThrow(/^The file of TORPOR_CONFIG is no JSON: .+\.$/)
  })
})
