import { ServiceError } from "../../errors.ts"

export type RefusalReason =
  | "missing"
  | "incomplete"
  | "unknownKey"
  | "mismatch"
  | "scope"
  | "skew"
  | "expired"
  | "payload"
  | "unsigned"

/** Why a signature wasn't accepted; each dialect says it in its own words. */
export class SignatureRefusal extends Error {
  override readonly name = "SignatureRefusal"
  readonly reason: RefusalReason

  constructor(reason: RefusalReason, message: string) {
    super(message)
    this.reason = reason
  }
}

const jsonCodes: Record<RefusalReason, string> = {
  missing: "MissingAuthenticationTokenException",
  incomplete: "IncompleteSignatureException",
  unknownKey: "UnrecognizedClientException",
  mismatch: "InvalidSignatureException",
  scope: "InvalidSignatureException",
  skew: "InvalidSignatureException",
  expired: "InvalidSignatureException",
  payload: "InvalidSignatureException",
  unsigned: "InvalidSignatureException",
}

/** A refusal in the words of AWS's JSON services; all of them are 403. */
export const toJsonRefusal = (refusal: SignatureRefusal): ServiceError =>
  new ServiceError(jsonCodes[refusal.reason], 403, refusal.message)
