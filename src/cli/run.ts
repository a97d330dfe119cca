import { existsSync } from "node:fs"
import { join } from "node:path"
import { CreateMicrovmAuthTokenCommand, RunMicrovmCommand } from "@aws-sdk/client-lambda-microvms"
import { ACCOUNT, imageArn } from "../../machines/arn.ts"
import { withClient } from "./client.ts"
import type { CommandInput } from "./commands.ts"
import { DEFAULT_PORT, portOf } from "./number-options.ts"

const IDLE_SECONDS = 300
const MAX_SECONDS = 28_800
const TOKEN_MINUTES = 60

/** `torpor run IMAGE`: launches a MicroVM, and prints how it is reached. */
export const run = async ({ config, args, options, print, signal }: CommandInput): Promise<number> => {
  const port = portOf(options)
  return withClient(config, async ({ microvms, region }) => {
    const imageIdentifier = imageArn({ account: ACCOUNT, region }, args["IMAGE"] ?? "")
    const idlePolicy = {
      maxIdleDurationSeconds: IDLE_SECONDS,
      suspendedDurationSeconds: MAX_SECONDS,
      autoResumeEnabled: true,
    }
    const vm = await microvms.send(new RunMicrovmCommand({ imageIdentifier, idlePolicy }), { abortSignal: signal })
    const { authToken } = await microvms.send(
      new CreateMicrovmAuthTokenCommand({
        microvmIdentifier: vm.microvmId,
        expirationInMinutes: TOKEN_MINUTES,
        allowedPorts: [{ allPorts: {} }],
      }),
      { abortSignal: signal },
    )
    const ca = join(config.dataDirectory, "tls/ca.pem")
    const words = [
      "curl",
      ...(config.tls === undefined && existsSync(ca) ? ["--cacert", ca] : []),
      `-H 'X-aws-proxy-auth: ${authToken?.["X-aws-proxy-auth"]}'`,
      ...(port === DEFAULT_PORT ? [] : [`-H 'X-aws-proxy-port: ${port}'`]),
      `https://${vm.endpoint}/`,
    ]
    print(
      `${vm.microvmId} of ${args["IMAGE"]}, version ${vm.imageVersion}: it sleeps after ${IDLE_SECONDS / 60} minutes without a request, and wakes on the next.`,
    )
    print(`Ask it within the next ${TOKEN_MINUTES} minutes, when the token in this expires:\n\n  ${words.join(" ")}\n`)
    print(`A browser is let in by \`torpor open ${vm.microvmId}\`; what it says is in \`torpor logs ${vm.microvmId}\`.`)
    return 0
  })
}
