import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { ensureCertificates } from "../proxy/certificates.ts"
import { complaintOf, readGivenCertificate } from "../src/given-certificate.ts"

const DAY_MS = 24 * 3600 * 1000
let directory: string
let files: { certificateFile: string; keyFile: string }
let others: string

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "torpor-given-"))
  await ensureCertificates(join(directory, "a"), "example.com")
  await ensureCertificates(join(directory, "b"), "example.com")
  files = { certificateFile: join(directory, "a/leaf.pem"), keyFile: join(directory, "a/leaf.key") }
  others = join(directory, "b/leaf.key")
})
afterAll(() => rm(directory, { recursive: true }))

const refusal = (words: RegExp) =>
  expect.objectContaining({ name: "OperatorError", message: expect.stringMatching(words) })

test("A certificate and its key are read as they are, with what follows the leaf", async () => {
  const chain = join(directory, "chain.pem")
  await writeFile(
    chain,
    (await readFile(files.certificateFile, "utf8")) + (await readFile(join(directory, "a/ca.pem"), "utf8")),
  )
  expect(await readGivenCertificate({ ...files, certificateFile: chain })).toEqual({
    certificate: await readFile(chain, "utf8"),
    key: await readFile(files.keyFile, "utf8"),
  })
})

test("A file that isn't there is named by its variable", async () => {
  await expect(readGivenCertificate({ ...files, certificateFile: "/nowhere" })).rejects.toThrow(
    refusal(/^The file of TORPOR_TLS_CERT cannot be read: ENOENT/),
  )
  await expect(readGivenCertificate({ ...files, keyFile: "/nowhere" })).rejects.toThrow(
    refusal(/^The file of TORPOR_TLS_KEY cannot be read: ENOENT/),
  )
})

test("Files that are something else, or don't belong together, are refused before anything listens", async () => {
  const words = join(directory, "words")
  await writeFile(words, "-----BEGIN CERTIFICATE-----\nwords\n-----END CERTIFICATE-----\n")
  for (const wrong of [
    { certificateFile: words },
    { keyFile: words },
    { keyFile: others },
    { certificateFile: files.keyFile },
  ])
    await expect(readGivenCertificate({ ...files, ...wrong })).rejects.toThrow(
      refusal(/^The files of TORPOR_TLS_CERT and TORPOR_TLS_KEY are no PEM certificate and its key: /),
    )
})

test("A client's complaints are known beforehand", async () => {
  const given = await readGivenCertificate(files)
  const now = Date.now()
  expect(complaintOf(given, "example.com", new Date(now))).toBeUndefined()
  expect(complaintOf(given, "example.org", new Date(now))).toBe("it does not cover *.vm.example.org")
  expect(complaintOf(given, "example.com", new Date(now + 500 * DAY_MS))).toMatch(/^it expired on /)
  expect(complaintOf(given, "example.com", new Date(now - 500 * DAY_MS))).toMatch(/^it is not valid before /)
})
