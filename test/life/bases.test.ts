import { execFileSync } from "node:child_process"
import { mkdir, mkdtemp, rm, symlink, truncate, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { startTestDaemon, type TestDaemon } from "../fixtures/daemon.ts"
import { LOGIN, pushImage, startRegistry, type RegistryServer } from "../registry/registry-server.ts"
import { buildOf } from "./build-result.ts"
import { makeMuslTree, toLayer } from "./musl-image.ts"
import { readerOf } from "./reader.ts"

const opened = new AsyncDisposableStack()
let registry: RegistryServer
let daemon: TestDaemon
let musl: Buffer
let scratch: string
beforeAll(async () => {
  registry = opened.use(await startRegistry({ tls: true, login: true }))
  scratch = await mkdtemp(join(tmpdir(), "torpor-bases-"))
  opened.defer(() => rm(scratch, { recursive: true, force: true }))
  const images = { registries: { [registry.host]: { ...LOGIN, caFile: registry.caFile } } }
  daemon = opened.use(await startTestDaemon({}, { images }))
  const tree = await makeMuslTree()
  musl = await toLayer(tree)
  await rm(tree, { recursive: true })
})
afterAll(() => opened.disposeAsync())

/** With TORPOR_TEST_ALL=1 twenty thousand files, and more bytes than the guest has memory (512 MiB): minutes of an emulated core. */
const [perFolder, bytes] = process.env["TORPOR_TEST_ALL"] === "1" ? [200, 600 * 1024 ** 2] : [20, 32 * 1024 ** 2]

describe("A base image from a registry", () => {
  test("of musl and busybox, without bash or /tmp, is built on as its user 1000, and started as it says", async () => {
    const config = {
      Env: ["PATH=/bin:/usr/bin", "FROM_BASE=yes"],
      User: "app",
      WorkingDir: "/home/app",
      Entrypoint: ["/usr/bin/server"],
      ExposedPorts: { "8080/tcp": {} },
      OnBuild: ["RUN echo triggered > trigger"],
    }
    const { digest } = await pushImage(registry, "small", "latest", { layers: [musl], config })
    const dockerfile = `FROM ${registry.host}/small\nRUN echo "$FROM_BASE $(id -u) $(pwd) $(ls -d /tmp 2>&1)" > said\n`
    const first = await buildOf(daemon, "small", { Dockerfile: dockerfile })
    expect(first.reason, first.log.join("\n")).toBeUndefined()
    expect(first.log.join("\n")).toMatch(new RegExp(`Fetching ${registry.host}/small@${digest}: 1 layers`))
    await using vm = await readerOf(daemon, "small")
    expect(await vm.read("/home/app/said")).toBe("yes 1000 /home/app ls: /tmp: No such file or directory\n")
    expect(await vm.read("/home/app/trigger")).toBe("triggered\n")

    const again = await buildOf(daemon, "small-again", {
      Dockerfile: dockerfile.replace(/small\n/, `small@${digest}\n`),
    })
    expect(again.reason).toBeUndefined()
    expect(again.log.filter((line) => line.endsWith(" CACHED"))).toHaveLength(3)
    expect(again.log.filter((line) => line.startsWith("Fetching "))).toHaveLength(1)
  })

  test("of many small files, one of two gigabytes, and layers that take away, is there whole", async () => {
    const many = join(scratch, "many")
    for (let folder = 0; folder < 100; folder++) {
      await mkdir(join(many, "many", String(folder)), { recursive: true })
      await Promise.all(
        Array.from({ length: perFolder }, (_, file) =>
          writeFile(join(many, "many", String(folder), String(file)), `${file}`),
        ),
      )
    }
    const large = join(scratch, "large")
    await mkdir(large)
    // Bytes, and then a hole up to a size that no signed 32-bit number holds.
    execFileSync("sh", ["-c", `yes "two gigabytes" | head -c ${bytes} > "$1/large"`, "sh", large])
    await truncate(join(large, "large"), 2_147_483_648)
    const less = join(scratch, "less")
    for (const path of ["bin/.wh.touch", "many/.wh.0", "many/1/.wh..wh..opq", "many/1/new"]) {
      await mkdir(join(less, path, ".."), { recursive: true })
      await writeFile(join(less, path), "new")
    }
    await symlink("/many/1/new", join(less, "link"))
    const layers = [await toLayer(large, "zstd"), musl, await toLayer(many), await toLayer(less)]
    await pushImage(registry, "large", "latest", {
      layers,
      config: { Env: ["PATH=/bin"], Cmd: ["/usr/bin/server"] },
      alter: (manifest) =>
        void ((manifest["layers"] as { mediaType: string }[])[0]!.mediaType =
          "application/vnd.oci.image.layer.v1.tar+zstd"),
    })
    const { reason, log } = await buildOf(daemon, "large", {
      Dockerfile: `FROM ${registry.host}/large
RUN find /many -type f | wc -l > /count && stat -c %s /large >> /count && ls /many/1 >> /count
`,
    })
    expect(reason, log.join("\n")).toBeUndefined()
    await using vm = await readerOf(daemon, "large")
    expect(await vm.read("/count")).toBe(`${98 * perFolder + 1}\n2147483648\nnew\n`)
    expect(await vm.read("/link")).toBe("new")
    expect(await vm.read("/bin/touch")).toBe(404)
  })

  test.for<[what: string, dockerfile: string, reason: RegExp]>([
    ["has no such name", "FROM HOST/nothing", /line 1: .*nothing.* cannot be fetched/],
    ["is no reference", "FROM HOST/Capitals", /line 1: .* is no image reference: its name must be lower case/],
    ["is inside and nobody has named it", "FROM 127.0.0.1:1/x", /line 1: .*"images.registries" in TORPOR_CONFIG/],
    ["is for another platform", "FROM --platform=linux/arm64 HOST/small", /line 1: .*linux\/arm64/],
  ])("that %s fails the build with its line", async ([, line, reason]) => {
    const name = line.replaceAll(/[^a-z]+/gi, "-").slice(0, 60)
    const result = await buildOf(daemon, name, { Dockerfile: `${line.replace("HOST", registry.host)}\nCMD x\n` })
    expect(result.reason).toMatch(reason)
  })
})
