/** The operator's own certificate and key for the edge (`TORPOR_TLS_CERT`, `TORPOR_TLS_KEY`). */
import { X509Certificate } from "node:crypto"
import { readFile } from "node:fs/promises"
import { createSecureContext } from "node:tls"
import { messageOf, OperatorError } from "./errors.ts"

export interface GivenCertificate {
  /** PEM: the leaf, then what leads to its CA. */
  readonly certificate: string
  readonly key: string
}

/** Reads both; throws an {@link OperatorError} when they are no certificate and its key. */
export const readGivenCertificate = async (files: {
  certificateFile: string
  keyFile: string
}): Promise<GivenCertificate> => {
  const [certificate, key] = await Promise.all([
    readNamed(files.certificateFile, "TORPOR_TLS_CERT"),
    readNamed(files.keyFile, "TORPOR_TLS_KEY"),
  ])
  try {
    createSecureContext({ cert: certificate, key })
  } catch (error) {
    throw new OperatorError(
      `The files of TORPOR_TLS_CERT and TORPOR_TLS_KEY are no PEM certificate and its key: ${messageOf(error)}`,
    )
  }
  return { certificate, key }
}

/** What clients will say of it at the given time; `undefined` when they have no reason to complain, but for who signed it. */
export const complaintOf = ({ certificate }: GivenCertificate, domain: string, now: Date): string | undefined => {
  const leaf = new X509Certificate(certificate)
  if (leaf.validToDate < now) return `it expired on ${leaf.validTo}`
  if (leaf.validFromDate > now) return `it is not valid before ${leaf.validFrom}`
  return leaf.checkHost(`a.vm.${domain}`) === undefined ? `it does not cover *.vm.${domain}` : undefined
}

const readNamed = (file: string, variable: string): Promise<string> =>
  readFile(file, "utf8").catch((error: Error) => {
    throw new OperatorError(`The file of ${variable} cannot be read: ${error.message}.`)
  })
