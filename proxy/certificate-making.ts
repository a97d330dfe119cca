/** Makes the edge's CA and its leaf, and keeps them in files. */
// @peculiar/x509 is put together by a container that needs it, first.
import "reflect-metadata"
import type { webcrypto } from "node:crypto"
import { rename, writeFile } from "node:fs/promises"
import * as x509 from "@peculiar/x509"
import type { Pair } from "./certificates.ts"

const KEYS = { name: "ECDSA", namedCurve: "P-256" } as const
const SIGNING = { name: "ECDSA", hash: "SHA-256" } as const
const DAY_MS = 24 * 3600 * 1000
const [CA_DAYS, LEAF_DAYS] = [3650, 397]

/** A CA that may sign for names under the domain alone. */
export const makeCa = async (domain: string, files: { ca: string; caKey: string }): Promise<Pair> => {
  const keys = await crypto.subtle.generateKey(KEYS, true, ["sign", "verify"])
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: `CN=Torpor CA for ${domain} ${serial().slice(0, 8)}`,
    notBefore: new Date(Date.now() - DAY_MS),
    notAfter: new Date(Date.now() + CA_DAYS * DAY_MS),
    signingAlgorithm: SIGNING,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      new x509.Extension("2.5.29.30", true, nameConstraints(domain)),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  return keepPair(certificate, keys.privateKey, files.ca, files.caKey)
}

/** A certificate for the names, signed by the CA. */
export const makeLeaf = async (
  names: readonly string[],
  ca: Pair,
  files: { leaf: string; leafKey: string },
): Promise<Pair> => {
  const issuer = new x509.X509Certificate(ca.certificate)
  const keys = await crypto.subtle.generateKey(KEYS, true, ["sign", "verify"])
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: `CN=${names[0]?.replace("*.", "")}`,
    issuer: issuer.subject,
    notBefore: new Date(Date.now() - DAY_MS),
    notAfter: new Date(Date.now() + LEAF_DAYS * DAY_MS),
    signingAlgorithm: SIGNING,
    publicKey: keys.publicKey,
    signingKey: await crypto.subtle.importKey("pkcs8", x509.PemConverter.decodeFirst(ca.key), KEYS, false, ["sign"]),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(names.map((value) => ({ type: "dns" as const, value }))),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
    ],
  })
  return keepPair(certificate, keys.privateKey, files.leaf, files.leafKey)
}

const keepPair = async (
  certificate: x509.X509Certificate,
  privateKey: webcrypto.CryptoKey,
  file: string,
  keyFile: string,
): Promise<Pair> => {
  const text = certificate.toString("pem")
  const key = x509.PemConverter.encode(await crypto.subtle.exportKey("pkcs8", privateKey), "PRIVATE KEY")
  // The key first: a certificate without its key is made again.
  for (const [path, content, mode] of [
    [keyFile, key, 0o600],
    [file, text, 0o644],
  ] as const) {
    await writeFile(`${path}.new`, `${content}\n`, { mode })
    await rename(`${path}.new`, path)
  }
  return { certificate: text, key }
}

const serial = () =>
  Buffer.from(crypto.getRandomValues(new Uint8Array(16)))
    .toString("hex")
    .replace(/^[89a-f]/, "1")

/** DER of NameConstraints { permittedSubtrees [0] { GeneralSubtree { dNSName domain } } }: RFC 5280, 4.2.1.10. */
const nameConstraints = (domain: string): ArrayBuffer => {
  const der = (tag: number, content: Buffer) => {
    if (content.length > 127) throw new Error(`The domain ${domain} is too long`)
    return Buffer.concat([Buffer.from([tag, content.length]), content])
  }
  return new Uint8Array(der(0x30, der(0xa0, der(0x30, der(0x82, Buffer.from(domain, "ascii")))))).buffer
}
