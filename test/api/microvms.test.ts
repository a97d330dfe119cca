import { randomUUID } from "node:crypto"
import type { LambdaMicrovms } from "@aws-sdk/client-lambda-microvms"
import { paginateListMicrovms } from "@aws-sdk/client-lambda-microvms"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { account, otherCredentials, refusalOf, region, startApi, type ApiUnderTest } from "./api-under-test.ts"
import { arnOf, connector, imageInput, managedArn } from "./names.ts"
import { signedJson, signedSend } from "./signed-fetch.ts"

describe("The MicroVMs API", () => {
  let api: ApiUnderTest
  let client: LambdaMicrovms
  beforeAll(async () => {
    api = await startApi()
    client = api.client()
    await client.createMicrovmImage(imageInput("app"))
  })
  afterAll(() => api?.[Symbol.asyncDispose]())

  const raw = (method: string, path: string, body?: unknown) => signedJson(api.port, method, path, body)

  const post = async (body: string) => {
    const { status, headers, text } = await signedSend(api.port, { method: "POST", path: "/2025-09-09/microvms", body })
    return [status, headers["x-amzn-errortype"], JSON.parse(text)]
  }

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
        allowedPorts: [
          { port: 80 },
          { range: { startPort: 3000, endPort: 3010 } },
          { port: 3005 },
          { port: 81 },
          { range: { startPort: 3008, endPort: 3020 } },
        ],
      })
      expect(JSON.parse(authToken?.["X-aws-proxy-auth"] ?? "")).toEqual({
        vmId: microvmId?.replace("microvm-", ""),
        ports: [
          { from: 80, to: 81 },
          { from: 3000, to: 3020 },
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

    it.each(["microvm-1", "../../etc", "microvm-00000000-0000-0000-0000-000000000000"])(
      "knows no MicroVM %j",
      async (microvmIdentifier) => {
        expect(await refusalOf(client.getMicrovm({ microvmIdentifier }))).toEqual({
          name: "ResourceNotFoundException",
          message: `MicroVM not found: ${microvmIdentifier}`,
          status: 404,
        })
      },
    )

    it("refuses an identifier that cannot be stored", async () => {
      expect(await refusalOf(client.getMicrovm({ microvmIdentifier: "nul\0" }))).toMatchObject({
        name: "SerializationException",
        status: 400,
      })
    })

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

    it("refuses more ports apart from each other than a token holds, which would be good for nothing", async () => {
      const { microvmId: microvmIdentifier } = await client.runMicrovm({ imageIdentifier: arnOf("app") })
      const ask = (step: number) =>
        client.createMicrovmAuthToken({
          microvmIdentifier,
          expirationInMinutes: 1,
          allowedPorts: Array.from({ length: 65 }, (_, index) => ({ port: 8000 + index * step })),
        })
      expect(await refusalOf(ask(2))).toMatchObject({
        status: 400,
        message: expect.stringContaining("allowedPorts has 65 ranges") as string,
      })
      const { authToken } = await ask(1)
      expect(JSON.parse(authToken?.["X-aws-proxy-auth"] ?? "")).toMatchObject({ ports: [{ from: 8000, to: 8064 }] })
    })
  })

  it("refuses by name what it doesn't do yet, and an SDK doesn't try again", async () => {
    const patient = api.client({ maxAttempts: 3 })
    const version = { imageIdentifier: arnOf("app"), imageVersion: "1.0" }
    const refusal = await refusalOf(patient.updateMicrovmImageVersion({ ...version, status: "INACTIVE" }))
    expect(refusal).toEqual({
      name: "UnsupportedOperationException",
      message: "Torpor does not support UpdateMicrovmImageVersion yet.",
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
