import { randomUUID } from "node:crypto"
import { createReadStream } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { basename, join, resolve } from "node:path"
import {
  CreateMicrovmImageCommand,
  GetMicrovmImageCommand,
  ListMicrovmImageBuildsCommand,
  UpdateMicrovmImageCommand,
} from "@aws-sdk/client-lambda-microvms"
import { CreateBucketCommand, DeleteObjectCommand } from "@aws-sdk/client-s3"
import { Upload } from "@aws-sdk/lib-storage"
import type { BuildSettings } from "../../../images/build-settings.ts"
import { ACCOUNT, imageArn } from "../../../machines/arn.ts"
import { OperatorError } from "../../errors.ts"
import { withClient, type ApiClient } from "../client.ts"
import { sizeOf } from "../size.ts"
import type { CommandInput } from "../commands.ts"
import { UsageError } from "../invocation.ts"
import { followBuild } from "./follow.ts"
import { checkDirectory, packDirectory } from "./pack.ts"

const BUCKET = "torpor-build"
const ROLE = `arn:aws:iam::${ACCOUNT}:role/torpor-build`
const DEFAULT_MEMORY_MIB = "512"
/** As the API has it. */
const NAME = /^[a-zA-Z0-9-_]{1,64}$/
const CANCEL_MS = 30_000

interface Wanted {
  readonly directory: string
  readonly dockerfile: string | undefined
  readonly name: string
  readonly memoryMiB: number
  readonly environment: Record<string, string>
  readonly settings: BuildSettings
}

/** `torpor build DIR`: a directory becomes an image, or the next version of one. */
export const build = async (input: CommandInput): Promise<number> => {
  const { config, print, signal } = input
  const wanted = read(input)
  await checkDirectory(wanted)
  return withClient(config, async (client) => {
    const uri = await upload(client, wanted, print, signal)
    try {
      const { version, buildId } = await begin(client, wanted, uri, signal)
      print(`Building ${wanted.name}, version ${version}`)
      const { state, reason } = await followOrCancel(client, buildId, print, signal)
      if (state === "FAILED") throw new OperatorError(`The build failed: ${reason}`)
      print(`${wanted.name}, version ${version}, is ready. Run it with\n\n  torpor run ${wanted.name}\n`)
      return 0
    } finally {
      const [, , Bucket, ...key] = uri.split("/")
      await client.s3.send(new DeleteObjectCommand({ Bucket, Key: key.join("/") })).catch(() => {})
    }
  })
}

const read = ({ args, options }: CommandInput): Wanted => {
  const one = (name: string) => options.get(name)?.[0]
  const directory = resolve(args["DIR"] ?? ".")
  const name = one("name") ?? basename(directory).replaceAll(/[^a-zA-Z0-9-_]+/g, "-")
  if (!NAME.test(name))
    throw new UsageError(`An image's name has 1 to 64 letters, digits, - and _: name it with --name.`)
  const memory = one("memory") ?? DEFAULT_MEMORY_MIB
  if (!/^\d{1,7}$/.test(memory)) throw new UsageError("--memory wants a number of MiB.")
  const target = one("target")
  return {
    directory,
    name,
    dockerfile: one("file"),
    memoryMiB: Number(memory),
    environment: pairs("--env", options.get("env")),
    settings: {
      arguments: pairs("--build-arg", options.get("build-arg")),
      ...(target === undefined ? {} : { target }),
    },
  }
}

const pairs = (option: string, given: readonly string[] = []): Record<string, string> =>
  Object.fromEntries(
    given.map((pair) => {
      const at = pair.indexOf("=")
      if (at < 1) throw new UsageError(`${option} wants NAME=VALUE, and '${pair.slice(0, 60)}' is none.`)
      return [pair.slice(0, at), pair.slice(at + 1)]
    }),
  )

/** Packs and uploads; resolves with where it is. */
const upload = async (
  { s3 }: ApiClient,
  { directory, dockerfile, settings, name }: Wanted,
  print: (line: string) => void,
  signal: AbortSignal,
): Promise<string> => {
  const scratch = await mkdtemp(join(tmpdir(), "torpor-build-"))
  try {
    const archive = join(scratch, "archive.zip")
    const { files, bytes } = await packDirectory({ directory, dockerfile, settings }, archive, signal)
    print(`Uploading ${files} file${files === 1 ? "" : "s"} of ${directory}, ${sizeOf(bytes)} packed`)
    await s3.send(new CreateBucketCommand({ Bucket: BUCKET }), { abortSignal: signal }).catch((error: Error) => {
      if (error.name !== "BucketAlreadyOwnedByYou") throw error
    })
    const Key = `${name}-${randomUUID()}.zip`
    const work = new Upload({ client: s3, params: { Bucket: BUCKET, Key, Body: createReadStream(archive) } })
    signal.addEventListener("abort", () => void work.abort(), { once: true })
    await work.done()
    return `s3://${BUCKET}/${Key}`
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}

/** Creates the image, or its next version where it is there already. */
const begin = async (
  { microvms, region }: ApiClient,
  { name, memoryMiB, environment }: Wanted,
  uri: string,
  signal: AbortSignal,
): Promise<{ version: string; buildId: string }> => {
  const recipe = {
    baseImageArn: `arn:aws:lambda:${region}:aws:microvm-image:debian-13`,
    buildRoleArn: ROLE,
    codeArtifact: { uri },
    resources: [{ minimumMemoryInMiB: memoryMiB }],
    ...(Object.keys(environment).length === 0 ? {} : { environmentVariables: environment }),
  }
  const imageIdentifier = imageArn({ account: ACCOUNT, region }, name)
  const options = { abortSignal: signal }
  const isThere = await microvms.send(new GetMicrovmImageCommand({ imageIdentifier }), options).then(
    () => true,
    (error: Error) => {
      if (error.name !== "ResourceNotFoundException") throw error
      return false
    },
  )
  const { imageVersion: version = "" } = isThere
    ? await microvms.send(new UpdateMicrovmImageCommand({ imageIdentifier, ...recipe }), options)
    : await microvms.send(new CreateMicrovmImageCommand({ name, ...recipe }), options)
  const { items } = await microvms.send(
    new ListMicrovmImageBuildsCommand({ imageIdentifier, imageVersion: version }),
    options,
  )
  return { version, buildId: items?.[0]?.buildId ?? "" }
}

/** Whoever stops waiting has no use for the build. */
const followOrCancel = async (
  client: ApiClient,
  buildId: string,
  print: (line: string) => void,
  signal: AbortSignal,
) => {
  try {
    return await followBuild(client, buildId, print, signal)
  } catch (error) {
    if (!signal.aborted) throw error
    print("Cancelling the build")
    await client.send("POST", `/torpor/v1/builds/${buildId}/cancel`, AbortSignal.timeout(CANCEL_MS))
    throw error
  }
}
