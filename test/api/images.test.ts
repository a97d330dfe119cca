import { paginateListMicrovmImages, type LambdaMicrovms } from "@aws-sdk/client-lambda-microvms"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { account, refusalOf, region, startApi, type ApiUnderTest } from "./api-under-test.ts"
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
      const { items, nextToken } = await client.listMicrovmImageBuilds(version)
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

    it.each([
      ["its architecture", { architecture: "X86_64" }, { architecture: "ARM_64" }],
      ["its chipset", { chipset: "QEMU_MICROVM" }, { chipset: "GRAVITON" }],
      ["the chipset's generation", { chipsetGeneration: "1" }, { chipsetGeneration: "4" }],
    ] as const)("lists a version's build by %s", async (_what, own, other) => {
      const version = { imageIdentifier: arnOf("app"), imageVersion: "1.0" }
      const list = async (filter: object) => (await client.listMicrovmImageBuilds({ ...version, ...filter })).items
      expect(await list(own)).toHaveLength(1)
      expect(await list(other)).toEqual([])
    })

    it("refuses to list builds of machines that nobody has", async () => {
      const version = { imageIdentifier: arnOf("app"), imageVersion: "1.0" }
      const unknown = client.listMicrovmImageBuilds({ ...version, architecture: "SPARC" as never })
      expect(await refusalOf(unknown)).toMatchObject({ name: "ValidationException", status: 400 })
    })

    it("lists versions as it shows them, and says of one that is deleted that it goes", async () => {
      const imageIdentifier = arnOf("app")
      const { items, nextToken } = await client.listMicrovmImageVersions({ imageIdentifier })
      expect([items?.map(({ imageVersion }) => imageVersion), nextToken ?? null]).toEqual([["1.0"], null])
      const { json } = await raw(
        "DELETE",
        `/2025-09-09/microvm-images/${encodeURIComponent(imageIdentifier)}/versions/1.0`,
      )
      expect(json).toEqual({ imageIdentifier, imageVersion: "1.0", state: "DELETING" })
      const other = client.deleteMicrovmImageVersion({ imageIdentifier, imageVersion: "2.0" })
      expect(await refusalOf(other)).toMatchObject({ name: "ResourceNotFoundException", status: 404 })
    })

    it("lists images page by page, those whose names have something in them, and says of one that is deleted that it goes", async () => {
      for (const name of ["listed-one", "listed-two", "other"]) await client.createMicrovmImage(imageInput(name))
      const { items, nextToken } = await client.listMicrovmImages({ nameFilter: "listed" })
      expect([items?.map(({ name }) => name), nextToken ?? null]).toEqual([["listed-one", "listed-two"], null])
      const { json } = await raw("GET", "/2025-09-09/microvm-images?nameFilter=listed-two")
      expect(json["items"]).toEqual([
        {
          createdAt: 1_785_000_000.123,
          imageArn: arnOf("listed-two"),
          latestActiveImageVersion: "1.0",
          latestFailedImageVersion: null,
          name: "listed-two",
          state: "CREATED",
          updatedAt: null,
        },
      ])
      const all: string[] = []
      for await (const page of paginateListMicrovmImages({ client, pageSize: 1 }, {}))
        all.push(...(page.items ?? []).map(({ name = "" }) => name))
      expect(all).toEqual(expect.arrayContaining(["listed-one", "listed-two", "other"]))
      expect(new Set(all).size).toBe(all.length)
      for (const wrong of [{ nameFilter: " " }, { maxResults: 51 }, { nextToken: "x" }])
        expect(await refusalOf(client.listMicrovmImages(wrong))).toMatchObject({ status: 400 })

      const path = `/2025-09-09/microvm-images/${encodeURIComponent(arnOf("other"))}`
      expect((await raw("DELETE", path)).json).toEqual({ imageIdentifier: arnOf("other"), state: "DELETING" })
      for (const gone of [
        () => client.deleteMicrovmImage({ imageIdentifier: arnOf("other") }),
        () => client.getMicrovmImage({ imageIdentifier: arnOf("other") }),
      ])
        expect(await refusalOf(gone())).toMatchObject({
          name: "ResourceNotFoundException",
          status: 404,
          message: `MicroVMImage not found for MicroVMImageID: ${arnOf("other")}`,
        })
    })

    it("updates one to its next version, and leaves the one before active until that is built", async () => {
      await client.createMicrovmImage({ ...imageInput("renewed"), tags: { team: "blue" } })
      const { name: _name, ...recipe } = imageInput("renewed")
      const path = `/2025-09-09/microvm-images/${encodeURIComponent(arnOf("renewed"))}`
      const { status, json } = await raw("PUT", path, { ...recipe, description: "Another" })
      expect(status).toBe(200)
      expect(json).toMatchObject({
        imageArn: arnOf("renewed"),
        imageVersion: "2.0",
        latestActiveImageVersion: "1.0",
        state: "UPDATING",
        description: "Another",
        updatedAt: 1_785_000_000.123,
      })
      expect(json).not.toHaveProperty("tags")
      const updated = await client.updateMicrovmImage({ ...recipe, imageIdentifier: arnOf("renewed") })
      expect(updated).toMatchObject({ imageVersion: "3.0", name: "renewed" })
      expect(updated.description).toBeUndefined()
      expect((await client.getMicrovmImage({ imageIdentifier: arnOf("renewed") })).tags).toEqual({ team: "blue" })
      expect(await refusalOf(client.updateMicrovmImage({ ...recipe, imageIdentifier: arnOf("none") }))).toMatchObject({
        status: 404,
        message: `MicroVMImage not found for MicroVMImageID: ${arnOf("none")}`,
      })
      const { codeArtifact: _artifact, ...less } = recipe
      expect(
        await refusalOf(client.updateMicrovmImage({ ...less, imageIdentifier: arnOf("renewed") } as never)),
      ).toMatchObject({
        status: 400,
        message: expect.stringContaining("Value null at 'codeArtifact'"),
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
})
