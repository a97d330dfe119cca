import { randomUUID } from "node:crypto"
import type { CreateMicrovmImageCommandInput, LambdaMicrovms } from "@aws-sdk/client-lambda-microvms"
import { paginateListMicrovms } from "@aws-sdk/client-lambda-microvms"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { account, otherCredentials, refusalOf, region, startApi, type ApiUnderTest } from "./api-under-test.ts"
import { signedSend } from "./signed-fetch.ts"

const arnOf = (name: string) => `arn:aws:lambda:${region}:${account}:microvm-image:${name}`
const managedArn = (name: string) => `arn:aws:lambda:${region}:aws:microvm-image:${name}`
const connector = (name: string) => `arn:aws:lambda:${region}:aws:network-connector:aws-network-connector:${name}`
const imageInput = (name: string): CreateMicrovmImageCommandInput => ({
  name,
  baseImageArn: managedArn("al2023-1"),
  buildRoleArn: "arn:aws:iam::000000000000:role/build",
  codeArtifact: { uri: "s3://artifacts/app.zip" },
})

describe("The MicroVMs API", () => {
  let api: ApiUnderTest
  let client: LambdaMicrovms
  beforeAll(async () => {
    api = await startApi()
    client = api.client()
    await client.createMicrovmImage(imageInput("app"))
  })
  afterAll(() => api[Symbol.asyncDispose]())

  const raw = async (method: string, path: string, body?: unknown) => {
    const answer = await signedSend(api.port, {
      method,
      path,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    return { ...answer, json: JSON.parse(answer.text) as Record<string, unknown> }
  }

  const post = async (body: string) => {
    const { status, headers, text } = await signedSend(api.port, { method: "POST", path: "/2025-09-09/microvms", body })
    return [status, headers["x-amzn-errortype"], JSON.parse(text)]
  }

  describe("for images", () => {
    it("creates one with what was left out filled in or null, as AWS does", async () => {
      const { status, json, headers } = await raw("POST", "/2025-09-09/microvm-images", imageInput("bare"))
      expect(status).toBe(201)
      expect(headers["content-type"]).toBe("application/json")
      expect(headers["x-amzn-requestid"]).toMatch(/^[0-9a-f-]{36}$/)
      expect(json).toEqual({
        additionalOsCapabilities: null,
        baseImageArn: managedArn("al2023-1"),
        baseImageVersion: "1.0",
        buildRoleArn: "arn:aws:iam::000000000000:role/build",
        codeArtifact: { uri: "s3://artifacts/app.zip" },
        cpuConfigurations: null,
        createdAt: 1_785_000_000.123,
        description: null,
        egressNetworkConnectors: [connector("INTERNET_EGRESS")],
        environmentVariables: null,
        hooks: null,
        imageArn: arnOf("bare"),
        imageVersion: "1.0",
        latestActiveImageVersion: null,
        latestFailedImageVersion: null,
        logging: null,
        name: "bare",
        resources: [{ minimumMemoryInMiB: 2048 }],
        state: "CREATING",
        tags: null,
        updatedAt: null,
      })
    })

    it("echoes everything that was said, in the version too", async () => {
      const said = {
        ...imageInput("full"),
        baseImageArn: managedArn("debian-13"),
        description: "All of it",
        logging: { cloudWatch: { logGroup: "/a/b", logStream: "c" } },
        egressNetworkConnectors: [connector("INTERNET_EGRESS")],
        cpuConfigurations: [{ architecture: "ARM_64" as const }],
        resources: [{ minimumMemoryInMiB: 512 }],
        additionalOsCapabilities: ["ALL" as const],
        environmentVariables: { KEY: "value", EMPTY: "" },
        tags: { team: "blue" },
      }
      const created = await client.createMicrovmImage({ ...said, baseImageVersion: "1" })
      expect(created).toMatchObject({ ...said, baseImageVersion: "1.0", state: "CREATING" })
      expect(created.createdAt).toEqual(new Date(1_785_000_000_123))
      const { name: _name, ...recipe } = said
      expect(
        await client.getMicrovmImageVersion({ imageIdentifier: arnOf("full"), imageVersion: "1.0" }),
      ).toMatchObject({
        ...recipe,
        imageArn: arnOf("full"),
        state: "SUCCESSFUL",
        status: "ACTIVE",
      })
      await client.createMicrovmImage({
        ...imageInput("quiet"),
        logging: { disabled: {} },
        hooks: { microvmHooks: { run: "DISABLED" } },
      })
      const quiet = await client.getMicrovmImageVersion({ imageIdentifier: arnOf("quiet"), imageVersion: "1.0" })
      expect(quiet.logging).toEqual({ disabled: {} })
    })

    it("keeps an environment variable called __proto__ a variable", async () => {
      const body = JSON.stringify(imageInput("proto")).replace("{", '{"environmentVariables":{"__proto__":"polluted"},')
      const { text, status } = await signedSend(api.port, { method: "POST", path: "/2025-09-09/microvm-images", body })
      expect(status).toBe(201)
      expect(text).toContain('"environmentVariables":{"__proto__":"polluted"}')
      expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined()
    })

    it("shows an image without its recipe", async () => {
      const { json } = await raw("GET", `/2025-09-09/microvm-images/${encodeURIComponent(arnOf("app"))}`)
      expect(json).toEqual({
        createdAt: 1_785_000_000.123,
        imageArn: arnOf("app"),
        latestActiveImageVersion: "1.0",
        latestFailedImageVersion: null,
        name: "app",
        state: "CREATED",
        tags: {},
        updatedAt: null,
      })
    })

    it("lists a version's build and shows it with its sizes", async () => {
      const version = { imageIdentifier: arnOf("app"), imageVersion: "1.0" }
      const { items, nextToken } = await client.listMicrovmImageBuilds({ ...version, architecture: "ARM_64" })
      expect(nextToken ?? null).toBeNull()
      expect(items).toMatchObject([
        { imageArn: arnOf("app"), imageVersion: "1.0", buildState: "SUCCESSFUL", architecture: "X86_64" },
      ])
      const build = await client.getMicrovmImageBuild({ ...version, buildId: items?.[0]?.buildId })
      expect(build.snapshotBuild).toEqual({
        memorySnapshotSizeInBytes: 3,
        codeInstallSizeInBytes: 2,
        diskSnapshotSizeInBytes: 1,
      })
      expect(await refusalOf(client.getMicrovmImageBuild({ ...version, buildId: "../x" }))).toMatchObject({
        status: 404,
      })
    })

    it("lists the managed images", async () => {
      const { items } = await client.listManagedMicrovmImages({})
      expect(items).toMatchObject([{ imageArn: managedArn("debian-13") }])
      expect(items?.[0]?.createdAt).toBeInstanceOf(Date)
    })

    it.each([
      ["a name that is taken", {}, "A MicroVM image with the name 'app' already exists in this account"],
      [
        "a base version that isn't there",
        { baseImageVersion: "999" },
        `No managed MicroVM Image with arn ${managedArn("al2023-1")} and version 999 is available`,
      ],
      [
        "a base that isn't managed",
        { baseImageArn: arnOf("app") },
        `No managed MicroVM Image with arn ${arnOf("app")} is available`,
      ],
      [
        "a reserved variable",
        { environmentVariables: { AWS_REGION: "x" } },
        "Environment variable key 'AWS_REGION' is reserved",
      ],
      ["odd memory", { resources: [{ minimumMemoryInMiB: 700 }] }, /^minimumMemoryInMiB 700 is not supported/],
      ["an artifact elsewhere", { codeArtifact: { uri: "https://x/y.zip" } }, /^Invalid codeArtifact uri/],
      ["a bad connector", { egressNetworkConnectors: ["INTERNET_EGRESS"] }, "Malformed network connector ARN"],
      [
        "runtime hooks without ready",
        { hooks: { microvmHooks: { run: "ENABLED" as const } } },
        "The ready (/ready) MicroVM image hook must be enabled when any MicroVM lifecycle hook (run, resume, suspend, or terminate) is enabled.",
      ],
      [
        "hooks",
        { hooks: { microvmImageHooks: { ready: "ENABLED" as const } } },
        /^Torpor does not run lifecycle hooks yet/,
      ],
    ])("refuses %s", async (_what, change, message) => {
      const refusal = await refusalOf(client.createMicrovmImage({ ...imageInput("app"), ...change }))
      expect(refusal).toMatchObject({ name: "ValidationException", status: 400 })
      expect(refusal.message).toMatch(message)
    })

    it("refuses what isn't the caller's image in AWS's words", async () => {
      const get = (imageIdentifier: string) => refusalOf(client.getMicrovmImage({ imageIdentifier }))
      expect(await get("app")).toMatchObject({ status: 400, message: "Invalid ARN format: app" })
      expect(await get(arnOf("none"))).toMatchObject({
        status: 404,
        name: "ResourceNotFoundException",
        message: `MicroVMImage not found for MicroVMImageID: ${arnOf("none")}`,
      })
      expect(await get(arnOf("app").replace("microvm-image:", "microvm-image/"))).toMatchObject({
        status: 403,
        name: "AccessDeniedException",
      })
      expect(await get(arnOf("app").replace(account, "111111111111"))).toMatchObject({ status: 403 })
      expect(await get(arnOf("app").replace(region, "us-east-1"))).toMatchObject({ status: 404 })
      expect(
        await refusalOf(client.getMicrovmImageVersion({ imageIdentifier: arnOf("app"), imageVersion: "7.0" })),
      ).toMatchObject({
        message: `MicroVMImage not found for MicroVMImage: ${arnOf("app")}, Version: 7.0`,
      })
    })
  })

  describe("for MicroVMs", () => {
    it("runs one with AWS's defaults, said in full", async () => {
      const { status, json } = await raw("POST", "/2025-09-09/microvms", { imageIdentifier: arnOf("app") })
      expect(status).toBe(200)
      expect(json).toEqual({
        egressNetworkConnectors: [connector("INTERNET_EGRESS")],
        endpoint: expect.stringMatching(/^[0-9a-f-]{36}\.vm\.localhost:7443$/),
        executionRoleArn: null,
        idlePolicy: null,
        imageArn: arnOf("app"),
        imageVersion: "1.0",
        ingressNetworkConnectors: [connector("HTTP_INGRESS")],
        maximumDurationInSeconds: 28_800,
        microvmId: expect.stringMatching(/^microvm-[0-9a-f-]{36}$/),
        startedAt: 1_785_000_001.5,
        state: "PENDING",
        stateReason: null,
        terminatedAt: null,
        terminationReasonCode: null,
      })
    })

    it("takes one through its life", async () => {
      const idlePolicy = { maxIdleDurationSeconds: 60, suspendedDurationSeconds: 0, autoResumeEnabled: true }
      const ingressNetworkConnectors = [connector("ALL_INGRESS"), connector("SHELL_INGRESS")]
      const run = await client.runMicrovm({
        imageIdentifier: arnOf("app"),
        idlePolicy,
        ingressNetworkConnectors,
        maximumDurationInSeconds: 1,
      })
      expect(run).toMatchObject({ idlePolicy, ingressNetworkConnectors, maximumDurationInSeconds: 1 })
      const one = { microvmIdentifier: run.microvmId }
      await client.suspendMicrovm(one)
      expect(await client.getMicrovm(one)).toMatchObject({ state: "SUSPENDED", idlePolicy, endpoint: run.endpoint })
      await client.resumeMicrovm(one)
      expect(await client.getMicrovm(one)).toMatchObject({ state: "RUNNING" })
      await client.terminateMicrovm(one)
      const over = await client.getMicrovm(one)
      expect(over).toMatchObject({ state: "TERMINATED", stateReason: "Success." })
      expect(over.terminatedAt).toBeInstanceOf(Date)
      await client.terminateMicrovm(one)
      const refusal = { name: "ValidationException", status: 400 }
      expect(await refusalOf(client.suspendMicrovm(one))).toEqual({
        ...refusal,
        message: `The MicroVM ${run.microvmId} has been terminated and its state cannot be changed.`,
      })
      const token = client.createMicrovmAuthToken({ ...one, expirationInMinutes: 1, allowedPorts: [{ port: 1 }] })
      expect(await refusalOf(token)).toMatchObject(refusal)
    })

    it("grants a token the ports and the time asked for", async () => {
      const { microvmId } = await client.runMicrovm({ imageIdentifier: arnOf("app") })
      const { authToken } = await client.createMicrovmAuthToken({
        microvmIdentifier: microvmId,
        expirationInMinutes: 60,
        allowedPorts: [{ port: 80 }, { range: { startPort: 3000, endPort: 3010 } }, { allPorts: {} }],
      })
      expect(JSON.parse(authToken?.["X-aws-proxy-auth"] ?? "")).toEqual({
        vmId: microvmId?.replace("microvm-", ""),
        ports: [
          { from: 80, to: 80 },
          { from: 3000, to: 3010 },
          { from: 1, to: 65_535 },
        ],
        expirationSeconds: 3600,
      })
    })

    it("lists with exactly five members, by image and version, in pages that only their own list continues", async () => {
      await client.createMicrovmImage(imageInput("many"))
      for (let count = 0; count < 5; count++) await client.runMicrovm({ imageIdentifier: arnOf("many") })
      const filter = { imageIdentifier: arnOf("many"), imageVersion: "1.0" }
      const pages = []
      for await (const page of paginateListMicrovms({ client, pageSize: 2 }, filter)) pages.push(page.items)
      expect(pages.map((items) => items?.length)).toEqual([2, 2, 1])
      expect(new Set(pages.flat().map((item) => item?.microvmId)).size).toBe(5)

      const { json } = await raw(
        "GET",
        `/2025-09-09/microvms?maxResults=1&imageIdentifier=${encodeURIComponent(arnOf("many"))}`,
      )
      expect(Object.keys((json["items"] as object[])[0] ?? {}).toSorted()).toEqual([
        "imageArn",
        "imageVersion",
        "microvmId",
        "startedAt",
        "state",
      ])
      const token = json["nextToken"] as string
      expect(token).toMatch(/^[\w-]+$/)
      for (const [nextToken, imageIdentifier] of [
        [token, arnOf("app")],
        [`A${token.slice(1)}`, arnOf("many")],
        ["x", arnOf("many")],
      ] as const) {
        expect(await refusalOf(client.listMicrovms({ nextToken, imageIdentifier }))).toMatchObject({
          status: 400,
          name: "ValidationException",
        })
      }
      expect((await raw("GET", "/2025-09-09/microvms?imageVersion=9.0")).json).toEqual({ items: [], nextToken: null })
    })

    it("hides another account's and another region's", async () => {
      const { microvmId } = await client.runMicrovm({ imageIdentifier: arnOf("app") })
      for (const stranger of [api.client({ credentials: otherCredentials }), api.client({ region: "us-east-1" })]) {
        expect(await refusalOf(stranger.getMicrovm({ microvmIdentifier: microvmId }))).toMatchObject({ status: 404 })
        expect((await stranger.listMicrovms({})).items).toEqual([])
      }
    })

    it.each(["microvm-1", "../../etc", "microvm-00000000-0000-0000-0000-000000000000", "nul\0"])(
      "knows no MicroVM %j",
      async (microvmIdentifier) => {
        expect(await refusalOf(client.getMicrovm({ microvmIdentifier }))).toEqual({
          name: "ResourceNotFoundException",
          message: `MicroVM not found: ${microvmIdentifier}`,
          status: 404,
        })
      },
    )

    it.each([
      ["a bare name", { imageIdentifier: "app" }, "Malformed ARN - doesn't start with 'arn:'"],
      [
        "a managed image",
        { imageIdentifier: managedArn("al2023-1") },
        "Image ARN must contain a valid customer account ID",
      ],
      [
        "a payload that no hook takes",
        { runHookPayload: "x" },
        "The run hook must be enabled in the MicroVM image to pass the run hook payload.",
      ],
      ["a bad connector", { ingressNetworkConnectors: ["nonsense"] }, "Malformed network connector ARN"],
      [
        "a VPC connector",
        { egressNetworkConnectors: [`arn:aws:lambda:${region}:${account}:network-connector:nc-${randomUUID()}`] },
        /^Torpor has no VPC network connectors/,
      ],
      [
        "a connector of the other direction",
        { ingressNetworkConnectors: [connector("INTERNET_EGRESS")] },
        /is not an ingress network connector/,
      ],
    ])("refuses to run with %s", async (_what, change, message) => {
      const refusal = await refusalOf(client.runMicrovm({ imageIdentifier: arnOf("app"), ...change }))
      expect(refusal).toMatchObject({ name: "ValidationException", status: 400 })
      expect(refusal.message).toMatch(message)
    })

    it("refuses a port range that ends before it starts", async () => {
      const { microvmId } = await client.runMicrovm({ imageIdentifier: arnOf("app") })
      const asked = {
        microvmIdentifier: microvmId,
        expirationInMinutes: 1,
        allowedPorts: [{ range: { startPort: 9, endPort: 8 } }],
      }
      expect(await refusalOf(client.createMicrovmAuthToken(asked))).toMatchObject({ status: 400 })
    })
  })

  it("refuses by name what it doesn't do yet, and an SDK doesn't try again", async () => {
    const patient = api.client({ maxAttempts: 3 })
    const refusal = await refusalOf(patient.deleteMicrovmImage({ imageIdentifier: arnOf("app") }))
    expect(refusal).toEqual({
      name: "UnsupportedOperationException",
      message: "Torpor does not support DeleteMicrovmImage yet.",
      status: 400,
    })
    const tagging = client.tagResource({ Resource: arnOf("app"), Tags: { a: "b" } })
    expect(await refusalOf(tagging)).toMatchObject({ message: "Torpor does not support TagResource yet." })
    expect(await raw("GET", "/2026-04-04/network-connectors")).toMatchObject({ status: 400 })
  })

  it("knows no other path", async () => {
    expect(await raw("GET", "/2015-03-31/functions")).toMatchObject({
      status: 404,
      headers: { "x-amzn-errortype": "UnknownOperationException" },
    })
    expect(await raw("GET", "/2025-09-09/microvms/a/b/c")).toMatchObject({ status: 404 })
  })

  it("answers JSON to what isn't JSON, or not of the right type", async () => {
    const type = "SerializationException"
    expect(await post("{")).toEqual([400, type, { Message: "The request's body is not valid JSON." }])
    expect(await post("[]")).toEqual([400, type, { Message: "Start of list found where not expected" }])
    expect(await post("true")).toEqual([400, type, { Message: "Expected null" }])
    expect(await post('{"imageIdentifier":1}')).toEqual([
      400,
      type,
      { Message: "NUMBER_VALUE can not be converted to String" },
    ])
    expect(await post('{"idlePolicy":"x"}')).toEqual([400, type, { Message: "Expected null" }])
    expect(await post('{"maximumDurationInSeconds":1.5}')).toEqual([
      400,
      type,
      { Message: "DECIMAL_VALUE can not be converted to Integer" },
    ])
    expect(await post(`{"imageIdentifier":${"[".repeat(100_000)}${"]".repeat(100_000)}}`)).toMatchObject([
      400,
      type,
      {},
    ])
  })

  it("says nothing of what broke inside, and logs it under the request's id", async () => {
    const failing = { ...api.images, get: () => Promise.reject(new Error("the database's password is hunter2")) }
    await using broken = await startApi({ images: failing })
    const answer = await signedSend(broken.port, { path: `/2025-09-09/microvm-images/${arnOf("app")}` })
    expect([answer.status, answer.headers["x-amzn-errortype"]]).toEqual([500, "InternalServerException"])
    expect(answer.text).not.toContain("hunter2")
    const line = broken.logged.find((logged) => logged.includes("hunter2")) ?? ""
    expect(JSON.parse(line)).toMatchObject({ level: 50, requestId: answer.headers["x-amzn-requestid"] })
  })

  it("takes bare names when it is lenient", async () => {
    await using lenient = await startApi({
      config: {
        lenient: true,
        endpointSuffix: "vm.localhost",
        machine: { architecture: "X86_64", chipset: "GENERIC", chipsetGeneration: "1" },
      },
    })
    const sdk = lenient.client()
    await sdk.createMicrovmImage({ ...imageInput("app"), egressNetworkConnectors: ["INTERNET_EGRESS"] })
    expect(await sdk.getMicrovmImage({ imageIdentifier: "app" })).toMatchObject({ imageArn: arnOf("app") })
    expect(await sdk.runMicrovm({ imageIdentifier: "app", ingressNetworkConnectors: ["NO_INGRESS"] })).toMatchObject({
      ingressNetworkConnectors: [connector("NO_INGRESS")],
    })
  })
})
