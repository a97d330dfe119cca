/**
 * The edge's certificates: a CA of this installation, constrained to its domain, so that trusting it trusts nothing else, and a leaf
 * for the endpoints. Both are made at the first start; the leaf again before it expires.
 */
// @peculiar/x509 is put together by a container that needs it, first.
import "reflect-metadata"
import type { webcrypto } from "node:crypto"
import { mkdir, readFile, rename, writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as x509 from "@peculiar/x509"

export interface Certificates {
  /** PEM: the leaf, then the CA. */
  readonly certificate: string
  readonly key: string
  /** What clients trust; absent when the operator brings certificates of their own. */
  readonly caFile: string | undefined
}

const KEYS = { name: "ECDSA", namedCurve: "P-256" } as const
const SIGNING = { name: "ECDSA", hash: "SHA-256" } as const
const DAY_MS = 24 * 3600 * 1000
const [CA_DAYS, LEAF_DAYS, RENEW_BEFORE_DAYS] = [3650, 397, 30]

/** Reads or makes the CA and the leaf for `*.vm.<domain>` and `*.lambda-url.<domain>` in a directory. */
export const ensureCertificates = async (directory: string, domain: string): Promise<Certificates> => {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const files = {
    ca: join(directory, "ca.pem"),
    caKey: join(directory, "ca.key"),
    leaf: join(directory, "leaf.pem"),
    leafKey: join(directory, "leaf.key"),
  }
  const ca = (await readPair(files.ca, files.caKey)) ?? (await makeCa(domain, files))
  const kept = await readPair(files.leaf, files.leafKey)
  const leaf =
    kept !== undefined && isGood(kept.certificate, ca.certificate, domain) ? kept : await makeLeaf(domain, ca, files)
  return {
    certificate: leaf.certificate.toString("pem") + "\n" + ca.certificate.toString("pem"),
    key: leaf.key,
    caFile: files.ca,
  }
}

interface Pair {
  readonly certificate: x509.X509Certificate
  /** PKCS #8 in PEM. */
  readonly key: string
}

const namesOf = (domain: string) => [`*.vm.${domain}`, `*.lambda-url.${domain}`]

const readPair = async (certificateFile: string, keyFile: string): Promise<Pair | undefined> => {
  const [certificate, key] = await Promise.all(
    [certificateFile, keyFile].map((file) => readFile(file, "utf8").catch(() => undefined)),
  )
  return certificate === undefined || key === undefined
    ? undefined
    : { certificate: new x509.X509Certificate(certificate), key }
}

const isGood = (leaf: x509.X509Certificate, ca: x509.X509Certificate, domain: string) =>
  leaf.issuer === ca.subject &&
  leaf.notAfter.getTime() > Date.now() + RENEW_BEFORE_DAYS * DAY_MS &&
  namesOf(domain).every((name) =>
    leaf
      .getExtension(x509.SubjectAlternativeNameExtension)
      ?.names.toJSON()
      .some(({ value }) => value === name),
  )

const makeCa = async (domain: string, files: { ca: string; caKey: string }): Promise<Pair> => {
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

const makeLeaf = async (domain: string, ca: Pair, files: { leaf: string; leafKey: string }): Promise<Pair> => {
  const keys = await crypto.subtle.generateKey(KEYS, true, ["sign", "verify"])
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: `CN=vm.${domain}`,
    issuer: ca.certificate.subject,
    notBefore: new Date(Date.now() - DAY_MS),
    notAfter: new Date(Date.now() + LEAF_DAYS * DAY_MS),
    signingAlgorithm: SIGNING,
    publicKey: keys.publicKey,
    signingKey: await crypto.subtle.importKey("pkcs8", x509.PemConverter.decodeFirst(ca.key), KEYS, false, ["sign"]),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(namesOf(domain).map((value) => ({ type: "dns" as const, value }))),
      await x509.AuthorityKeyIdentifierExtension.create(ca.certificate.publicKey),
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
  const key = x509.PemConverter.encode(await crypto.subtle.exportKey("pkcs8", privateKey), "PRIVATE KEY")
  // The key first: a certificate without its key is made again.
  for (const [path, text, mode] of [
    [keyFile, key, 0o600],
    [file, certificate.toString("pem"), 0o644],
  ] as const) {
    await writeFile(`${path}.new`, `${text}\n`, { mode })
    await rename(`${path}.new`, path)
  }
  return { certificate, key }
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
