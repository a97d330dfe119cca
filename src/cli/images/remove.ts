import { DeleteMicrovmImageCommand, DeleteMicrovmImageVersionCommand } from "@aws-sdk/client-lambda-microvms"
import { ACCOUNT, imageArn } from "../../../machines/arn.ts"
import { withClient } from "../client.ts"
import type { CommandInput } from "../commands.ts"

/** `torpor images rm IMAGE`: deletes an image, or one of its versions. */
export const remove = async ({ config, args, print, signal }: CommandInput): Promise<number> =>
  withClient(config, async ({ microvms, region }) => {
    const [name = "", imageVersion] = (args["IMAGE"] ?? "").split(":")
    const imageIdentifier = imageArn({ account: ACCOUNT, region }, name)
    if (imageVersion === undefined) {
      await microvms.send(new DeleteMicrovmImageCommand({ imageIdentifier }), { abortSignal: signal })
      print(`${name} is deleted`)
      return 0
    }
    const command = new DeleteMicrovmImageVersionCommand({ imageIdentifier, imageVersion })
    await microvms.send(command, { abortSignal: signal })
    print(`${name}, version ${imageVersion}, is deleted`)
    return 0
  })
