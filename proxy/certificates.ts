/**
 * The edge's certificates: a CA of this installation, constrained to its domain, so that trusting it trusts nothing else, and a leaf
 * for the endpoints. Both are made at the first start; the leaf again before it expires.
 */
import { X509Certificate } from "node:crypto"
import { mkdir, readFile } from "node:fs/promises"
import { join } from "node:path"

export interface Certificates {
  /** PEM: the leaf, then the CA. */
  readonly certificate: string
  readonly key: string
  /** What clients trust; absent when the operator brings certificates of their own. */
  readonly caFile: string | undefined
}

/** A certificate and its key, PKCS #8, both in PEM. */
export interface Pair {
  readonly certificate: string
  readonly key: string
}

const RENEW_BEFORE_MS = 30 * 24 * 3600 * 1000

/** Reads or makes the CA and the leaf for `*.vm.<domain>` and `*.lambda-url.<domain>` in a directory. */
export const ensureCertificates = async (directory: string, domain: string): Promise<Certificates> => {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const files = {
    ca: join(directory, "ca.pem"),
    caKey: join(directory, "ca.key"),
    leaf: join(directory, "leaf.pem"),
    leafKey: join(directory, "leaf.key"),
  }
  // What makes them is large, and most starts find them.
  const making = () => import("./certificate-making.ts")
  const ca = (await readPair(files.ca, files.caKey)) ?? (await (await making()).makeCa(domain, files))
  const kept = await readPair(files.leaf, files.leafKey)
  const names = namesOf(domain)
  const leaf =
    kept !== undefined && isGood(kept.certificate, ca.certificate, names)
      ? kept
      : await (await making()).makeLeaf(names, ca, files)
  return { certificate: `${leaf.certificate}\n${ca.certificate}`, key: leaf.key, caFile: files.ca }
}

const namesOf = (domain: string) => [`*.vm.${domain}`, `*.lambda-url.${domain}`]

const readPair = async (certificateFile: string, keyFile: string): Promise<Pair | undefined> => {
  const [certificate, key] = await Promise.all(
    [certificateFile, keyFile].map((file) => readFile(file, "utf8").catch(() => undefined)),
  )
  return certificate === undefined || key === undefined
    ? undefined
    : { certificate: certificate.trim(), key: key.trim() }
}

const isGood = (leafText: string, caText: string, names: readonly string[]) => {
  const leaf = new X509Certificate(leafText)
  const covered = leaf.subjectAltName?.split(", ") ?? []
  return (
    leaf.checkIssued(new X509Certificate(caText)) &&
    leaf.validToDate.getTime() > Date.now() + RENEW_BEFORE_MS &&
    names.every((name) => covered.includes(`DNS:${name}`))
  )
}
