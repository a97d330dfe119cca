import "reflect-metadata"
import { X509Certificate } from "node:crypto"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as x509 from "@peculiar/x509"
import { expect, onTestFinished, test } from "vitest"
import { ensureCertificates } from "../../proxy/certificates.ts"

test("The certificate covers MicroVMs and function URLs, and what they stand under; it is kept", async () => {
  const directory = await mkdtemp(join(tmpdir(), "torpor-certificates-"))
  onTestFinished(() => rm(directory, { recursive: true }))
  const made = await ensureCertificates(directory, "example.org")
  const leaf = new X509Certificate(made.certificate)
  expect(leaf.checkHost("0123.vm.example.org")).toBeDefined()
  expect(leaf.checkHost("0123.lambda-url.example.org")).toBeDefined()
  expect(leaf.checkHost("0123.example.org")).toBeUndefined()
  expect((await ensureCertificates(directory, "example.org")).certificate).toBe(made.certificate)
})

test("A data directory of a version without function URLs gets a certificate that covers them, under the CA that is trusted", async () => {
  const directory = await mkdtemp(join(tmpdir(), "torpor-certificates-"))
  onTestFinished(() => rm(directory, { recursive: true }))
  await ensureCertificates(directory, "localhost")
  const [ca, caKey] = await Promise.all(["ca.pem", "ca.key"].map((file) => readFile(join(directory, file), "utf8")))
  const algorithm = { name: "ECDSA", namedCurve: "P-256" }
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"])
  const old = await x509.X509CertificateGenerator.create({
    serialNumber: "01",
    subject: "CN=vm.localhost",
    issuer: new x509.X509Certificate(ca ?? "").subject,
    notBefore: new Date(Date.now() - 1000),
    notAfter: new Date(Date.now() + 300 * 24 * 3600 * 1000),
    signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
    publicKey: keys.publicKey,
    signingKey: await crypto.subtle.importKey("pkcs8", x509.PemConverter.decodeFirst(caKey ?? ""), algorithm, false, [
      "sign",
    ]),
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: "dns", value: "*.vm.localhost" }])],
  })
  await writeFile(join(directory, "leaf.pem"), old.toString("pem"))
  const { certificate } = await ensureCertificates(directory, "localhost")
  const leaf = new X509Certificate(certificate)
  expect(leaf.checkHost("0123.lambda-url.localhost")).toBeDefined()
  expect(leaf.verify(new X509Certificate(ca ?? "").publicKey)).toBe(true)
})
