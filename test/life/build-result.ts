import { expect } from "vitest"
import { signedSend } from "../api/signed-fetch.ts"
import { arnOf, REGION, type TestDaemon } from "../fixtures/daemon.ts"
import { firstBuildOf } from "../fixtures/image-builds.ts"

export interface BuildResult {
  /** `undefined` when it succeeded. */
  readonly reason: string | undefined
  readonly log: readonly string[]
}

/** Builds an image and reads its log from the API. */
export const buildOf = async (
  daemon: TestDaemon,
  name: string,
  files: Readonly<Record<string, string | Buffer>>,
): Promise<BuildResult> => {
  const reason = await daemon.build(name, files).then(
    () => undefined,
    (error: Error) => error.message,
  )
  const { buildId, buildState } = await firstBuildOf(daemon.client, arnOf(name))
  expect(buildState).toBe(reason === undefined ? "SUCCESSFUL" : "FAILED")
  const { accessKeyId, secretAccessKey } = await daemon.client.config.credentials()
  const { status, text } = await signedSend(daemon.apiPort, {
    path: `/torpor/v1/builds/${buildId}/logs`,
    region: REGION,
    accessKeyId,
    secretAccessKey,
  })
  expect(status, text).toBe(200)
  const told = text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as unknown)
  expect(told.pop()).toEqual({ state: reason === undefined ? "SUCCESSFUL" : "FAILED", reason: reason ?? null })
  const lines = told as { line: number; text: string }[]
  expect(lines.map(({ line }) => line)).toEqual(lines.map((_, index) => index))
  return { reason, log: lines.map((line) => line.text) }
}
