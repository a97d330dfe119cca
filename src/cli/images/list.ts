import {
  paginateListMicrovmImages,
  paginateListMicrovmImageVersions,
  type ListMicrovmImageVersionsOutput,
  type MicrovmImageSummary,
} from "@aws-sdk/client-lambda-microvms"
import { ACCOUNT, imageArn } from "../../../machines/arn.ts"
import { withClient } from "../client.ts"
import { toColumns } from "../columns.ts"
import type { CommandInput } from "../commands.ts"

const IMAGES = ["NAME", "VERSION", "STATE", "CREATED"]
const VERSIONS = ["VERSION", "STATE", "STATUS", "MEMORY", "CREATED"]

/** `torpor images ls`: the images of the account, by name; or the versions of one, the newest first. */
export const list = async ({ config, args, options, print, signal }: CommandInput): Promise<number> =>
  withClient(config, async ({ microvms: client, region }) => {
    const show = <Item>(items: readonly Item[], headings: readonly string[], toRow: (item: Item) => string[]) => {
      if (options.has("json")) print(JSON.stringify(items))
      else
        for (const row of toColumns([headings, ...items.map(toRow)], (column) => headings[column] !== "MEMORY"))
          print(row)
      return 0
    }
    const name = args["NAME"]
    if (name === undefined) {
      const images: MicrovmImageSummary[] = []
      for await (const page of paginateListMicrovmImages({ client }, {}, { abortSignal: signal }))
        images.push(...(page.items ?? []))
      return show(images, IMAGES, (image) => [
        image.name ?? "",
        image.latestActiveImageVersion ?? "none",
        image.state ?? "",
        timeOf(image.createdAt),
      ])
    }
    const versions: NonNullable<ListMicrovmImageVersionsOutput["items"]> = []
    const imageIdentifier = imageArn({ account: ACCOUNT, region }, name)
    for await (const page of paginateListMicrovmImageVersions({ client }, { imageIdentifier }, { abortSignal: signal }))
      versions.push(...(page.items ?? []))
    return show(versions, VERSIONS, (version) => [
      version.imageVersion ?? "",
      version.state ?? "",
      version.status ?? "",
      `${version.resources?.[0]?.minimumMemoryInMiB} MiB`,
      timeOf(version.createdAt),
    ])
  })

const timeOf = (at: Date | undefined) => at?.toISOString().replace(/\.\d+Z$/, "Z") ?? ""
