/** What `docker build` is told on its command line, in a file of the archive: AWS's API has no place for it, and any S3 client can send it so. */
import { z } from "zod"
import { ArchiveError } from "./archive-error.ts"

/** At the archive's root; it is none of the build's context. */
export const BUILD_SETTINGS_FILE = "torpor-build.json"

/** Half of a surrogate pair, which no database keeps, is U+FFFD, as it is to Docker. */
const plain = z.string().overwrite((value) => value.toWellFormed())

const BuildSettings = z.strictObject({
  /** For the Dockerfile's ARGs. */
  arguments: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "must be a variable's name"), plain).default({}),
  /** The stage that is built, by its name or number; the last by default. */
  target: plain.min(1).optional(),
})

export type BuildSettings = z.infer<typeof BuildSettings>

/** Reads the file's text; throws {@link ArchiveError} that names what is wrong. */
export const parseBuildSettings = (text: string | undefined): BuildSettings => {
  if (text === undefined) return { arguments: {} }
  const result = BuildSettings.safeParse(parseJson(text))
  if (result.success) return result.data
  const [issue] = result.error.issues
  const at = issue?.path.join(".").slice(0, 100)
  throw refusal(`${at === "" || at === undefined ? "" : `${at}: `}${issue?.message ?? "it is not as expected"}`)
}

const refusal = (why: string) =>
  new ArchiveError("ARCHIVE_INVALID", `The code artifact's ${BUILD_SETTINGS_FILE} is refused: ${why.slice(0, 300)}`)

const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw refusal((error as Error).message)
  }
}
