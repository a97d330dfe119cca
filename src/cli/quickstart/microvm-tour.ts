import { readFile } from "node:fs/promises"
import { setTimeout as sleep } from "node:timers/promises"
import {
  CreateMicrovmAuthTokenCommand,
  CreateMicrovmImageCommand,
  GetMicrovmCommand,
  GetMicrovmImageCommand,
  LambdaMicrovmsClient,
  ListMicrovmImageBuildsCommand,
  RunMicrovmCommand,
  SuspendMicrovmCommand,
  TerminateMicrovmCommand,
} from "@aws-sdk/client-lambda-microvms"
import { CreateBucketCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3"
import { ACCOUNT, imageArn } from "../../../machines/arn.ts"
import type { Daemon } from "../../daemon.ts"
import { OperatorError } from "../../errors.ts"
import { createEndpoint } from "../endpoint.ts"
import { sampleArchive } from "../sample.ts"
import { createStopwatch } from "./stopwatch.ts"

const ROLE = `arn:aws:iam::${ACCOUNT}:role/quickstart`
const POLL_MS = 50

/** From an archive with a Dockerfile to a MicroVM that slept and woke. */
export const microvmTour = async (
  daemon: Daemon,
  print: (line: string) => void,
  signal: AbortSignal,
): Promise<void> => {
  const connection = { endpoint: daemon.apiUrl, region: daemon.credentials.region, credentials: daemon.credentials }
  const s3 = new S3Client({ ...connection, forcePathStyle: true })
  const client = new LambdaMicrovmsClient(connection)
  const timed = createStopwatch(print)

  await s3.send(new CreateBucketCommand({ Bucket: "quickstart" }))
  await s3.send(new PutObjectCommand({ Bucket: "quickstart", Key: "counter.zip", Body: await sampleArchive() }))
  for (const name of ["counter", "counter-again"])
    await timed(name === "counter" ? "build an image from a Dockerfile" : "build it again: its steps are cached", () =>
      buildImage(client, name, signal),
    )

  const vm = await timed("RunMicrovm answers", () =>
    client.send(
      new RunMicrovmCommand({ imageIdentifier: imageArn({ account: ACCOUNT, region: connection.region }, "counter") }),
    ),
  )
  const microvmIdentifier = vm.microvmId ?? ""
  const { authToken } = await client.send(
    new CreateMicrovmAuthTokenCommand({ microvmIdentifier, expirationInMinutes: 10, allowedPorts: [{ port: 8080 }] }),
  )
  const ca = daemon.caFile === undefined ? "" : await readFile(daemon.caFile, "utf8")
  const endpoint = createEndpoint(vm.endpoint ?? "", authToken?.["X-aws-proxy-auth"] ?? "", ca)
  try {
    const get = async () => {
      const { status, body } = await endpoint.get("/")
      if (status !== 200) throw new Error(`The MicroVM answered ${status}: ${body}`)
      return JSON.parse(body) as { count: number; hostname: string }
    }
    print(`  https://${vm.endpoint}`)
    const first = await timed("its first answer, waited for while it starts", get)
    await timed("the next answer", get)
    await timed("suspend: stopped, its memory on disk", async () => {
      await client.send(new SuspendMicrovmCommand({ microvmIdentifier }))
      await untilState(client, microvmIdentifier, "SUSPENDED", signal)
    })
    const woken = await timed("the answer that wakes it", get)
    print(`  the counter in its memory: ${first.count} → ${woken.count}, on ${woken.hostname}`)
    if (woken.count !== 3) throw new Error(`The counter should be 3 and is ${woken.count}: the memory was lost`)
    await timed("terminate", async () => {
      await client.send(new TerminateMicrovmCommand({ microvmIdentifier }))
      await untilState(client, microvmIdentifier, "TERMINATED", signal)
    })
  } finally {
    endpoint.close()
    client.destroy()
    s3.destroy()
  }
}

const buildImage = async (client: LambdaMicrovmsClient, name: string, signal: AbortSignal) => {
  const region = await client.config.region()
  await client.send(
    new CreateMicrovmImageCommand({
      name,
      baseImageArn: `arn:aws:lambda:${region}:aws:microvm-image:debian-13`,
      buildRoleArn: ROLE,
      codeArtifact: { uri: "s3://quickstart/counter.zip" },
      resources: [{ minimumMemoryInMiB: 512 }],
    }),
  )
  const imageIdentifier = imageArn({ account: ACCOUNT, region }, name)
  for (;;) {
    const { state } = await client.send(new GetMicrovmImageCommand({ imageIdentifier }))
    if (state === "CREATED") return
    if (state === "CREATE_FAILED") {
      const { items } = await client.send(new ListMicrovmImageBuildsCommand({ imageIdentifier, imageVersion: "1.0" }))
      throw new OperatorError(`The image could not be built: ${items?.[0]?.stateReason ?? "no reason was given"}`)
    }
    await sleep(POLL_MS, undefined, { signal })
  }
}

const untilState = async (
  client: LambdaMicrovmsClient,
  microvmIdentifier: string,
  wanted: string,
  signal: AbortSignal,
) => {
  for (;;) {
    const { state, stateReason } = await client.send(new GetMicrovmCommand({ microvmIdentifier }))
    if (state === wanted) return
    if (state === "TERMINATED") throw new Error(`The MicroVM is over: ${stateReason}`)
    await sleep(10, undefined, { signal })
  }
}
