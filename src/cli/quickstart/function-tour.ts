import { readFile } from "node:fs/promises"
import {
  AddPermissionCommand,
  CreateFunctionCommand,
  CreateFunctionUrlConfigCommand,
  InvokeCommand,
  LambdaClient,
  waitUntilFunctionActiveV2,
} from "@aws-sdk/client-lambda"
import { ACCOUNT } from "../../../machines/arn.ts"
import type { Daemon } from "../../daemon.ts"
import { createEndpoint } from "../endpoint.ts"
import { sampleHandlers, zipOf } from "../sample.ts"
import { createStopwatch } from "./stopwatch.ts"

const ROLE = `arn:aws:iam::${ACCOUNT}:role/quickstart`
/** In seconds; a first function waits for its runtime's disk and base. */
const LONGEST_DEPLOYMENT = 600

/** Two functions, each invoked cold and warm, and a URL. */
export const functionTour = async (
  daemon: Daemon,
  print: (line: string) => void,
  signal: AbortSignal,
): Promise<void> => {
  const { region } = daemon.credentials
  const client = new LambdaClient({ endpoint: daemon.apiUrl, region, credentials: daemon.credentials })
  const timed = createStopwatch(print)

  const invoke = async (name: string, count: number) => {
    const { FunctionError, Payload = new Uint8Array() } = await client.send(
      new InvokeCommand({ FunctionName: name, Payload: JSON.stringify({ name: "you" }) }),
      { abortSignal: signal },
    )
    const text = Buffer.from(Payload).toString()
    if (FunctionError !== undefined) throw new Error(`The function ${name} failed: ${text}`)
    const answer = JSON.parse(text) as { greeting: string; count: number }
    if (answer.count !== count) throw new Error(`The function ${name} should have counted ${count}: ${text}`)
    return answer
  }

  try {
    for (const [runtime, files] of Object.entries(sampleHandlers)) {
      const name = runtime.split(".")[0] ?? ""
      await timed(`deploy a function of ${runtime}`, async () => {
        await client.send(
          new CreateFunctionCommand({
            FunctionName: name,
            Runtime: runtime as keyof typeof sampleHandlers,
            Role: ROLE,
            Handler: "index.handler",
            Code: { ZipFile: await zipOf(files) },
          }),
        )
        await waitUntilFunctionActiveV2(
          { client, maxWaitTime: LONGEST_DEPLOYMENT, minDelay: 0.1, maxDelay: 1, abortSignal: signal },
          { FunctionName: name },
        )
      })
      const { greeting } = await timed("invoke it: a cold start", () => invoke(name, 1))
      await timed("invoke it again", () => invoke(name, 2))
      print(`  it says: ${greeting}`)
    }
    await openUrl(daemon, client, print)
  } finally {
    client.destroy()
  }
}

const openUrl = async (daemon: Daemon, client: LambdaClient, print: (line: string) => void) => {
  const anybody = { FunctionName: "nodejs24", Principal: "*" }
  const { FunctionUrl = "" } = await client.send(
    new CreateFunctionUrlConfigCommand({ FunctionName: "nodejs24", AuthType: "NONE" }),
  )
  await client.send(
    new AddPermissionCommand({
      ...anybody,
      StatementId: "url",
      Action: "lambda:InvokeFunctionUrl",
      FunctionUrlAuthType: "NONE",
    }),
  )
  await client.send(
    new AddPermissionCommand({
      ...anybody,
      StatementId: "url-invoke",
      Action: "lambda:InvokeFunction",
      InvokedViaFunctionUrl: true,
    }),
  )
  print(`  ${FunctionUrl}`)
  const ca = daemon.caFile === undefined ? "" : await readFile(daemon.caFile, "utf8")
  const endpoint = createEndpoint(new URL(FunctionUrl).host, undefined, ca)
  try {
    await createStopwatch(print)("its answer over HTTPS", async () => {
      const { status, body } = await endpoint.get("/")
      if (status !== 200) throw new Error(`The function's URL answered ${status}: ${body}`)
    })
  } finally {
    endpoint.close()
  }
}
