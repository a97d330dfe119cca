import { invalid } from "../../../../machines/functions/refusals.ts"

const MAX_TAGS = 50

/** The tags, unless they are too many or one is AWS's own. */
export const checkTags = (tags: Record<string, string>): Record<string, string> => {
  const keys = Object.keys(tags)
  if (keys.length > MAX_TAGS) throw invalid(`The number of tags exceeds the limit of ${MAX_TAGS}.`)
  const reserved = keys.find((key) => key.toLowerCase().startsWith("aws:"))
  if (reserved !== undefined) throw invalid(`aws: prefixed tag key names are not allowed for external use: ${reserved}`)
  return tags
}
