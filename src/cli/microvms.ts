import {
  GetMicrovmCommand,
  paginateListMicrovms,
  ResumeMicrovmCommand,
  SuspendMicrovmCommand,
  TerminateMicrovmCommand,
  type MicrovmItem,
} from "@aws-sdk/client-lambda-microvms"
import { withClient } from "./client.ts"
import { toColumns } from "./columns.ts"
import type { CommandInput } from "./commands.ts"

const HEADINGS = ["MICROVM", "IMAGE", "VERSION", "STATE", "STARTED"]

/** `torpor ps`: the MicroVMs of the account, the newest first. */
export const list = async ({ config, options, print, signal }: CommandInput): Promise<number> =>
  withClient(config, async ({ microvms: client }) => {
    const all: MicrovmItem[] = []
    for await (const page of paginateListMicrovms({ client }, {}, { abortSignal: signal }))
      all.push(...(page.items ?? []))
    const shown = options.has("all") ? all : all.filter(({ state }) => state !== "TERMINATED")
    if (options.has("json")) {
      print(JSON.stringify(shown))
      return 0
    }
    const rows = shown.map(({ microvmId = "", imageArn = "", imageVersion = "", state = "", startedAt }) => [
      microvmId,
      imageArn.split(":").at(-1) ?? "",
      imageVersion,
      state,
      startedAt?.toISOString().replace(/\.\d+Z$/, "Z") ?? "",
    ])
    for (const row of toColumns([HEADINGS, ...rows], (column) => HEADINGS[column] !== "VERSION")) print(row)
    return 0
  })

/** `torpor suspend ID`, `torpor resume ID` and `torpor terminate ID`: asks for it, and prints the state that the MicroVM is in then. */
const asking =
  (Command: typeof SuspendMicrovmCommand | typeof ResumeMicrovmCommand | typeof TerminateMicrovmCommand) =>
  async ({ config, args, print, signal }: CommandInput): Promise<number> =>
    withClient(config, async ({ microvms }) => {
      const input = { microvmIdentifier: args["ID"] }
      await microvms.send(new Command(input), { abortSignal: signal })
      const { microvmId, state } = await microvms.send(new GetMicrovmCommand(input), { abortSignal: signal })
      print(`${microvmId} ${state}`)
      return 0
    })

export const suspend = asking(SuspendMicrovmCommand)
export const resume = asking(ResumeMicrovmCommand)
export const terminate = asking(TerminateMicrovmCommand)
