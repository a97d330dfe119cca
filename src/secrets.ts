import { createCipheriv, createDecipheriv, createHmac, randomBytes } from "node:crypto"
import { OperatorError } from "./errors.ts"

/** Seals what is secret at rest (AES-256-GCM), and derives what needn't be stored at all. */
export interface Secrets {
  seal(text: string): Buffer
  /** Throws an {@link OperatorError} when the text was sealed under another key, or altered. */
  open(sealed: Buffer): string
  /** 32 bytes that only this key gives for these words. */
  derive(...words: string[]): Buffer
}

const CIPHER = "aes-256-gcm"
const [NONCE_BYTES, TAG_BYTES] = [12, 16]

/** Secrets under a key of 32 bytes. */
export const createSecrets = (key: Buffer): Secrets => ({
  seal(text) {
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv(CIPHER, key, nonce)
    return Buffer.concat([nonce, cipher.update(text, "utf8"), cipher.final(), cipher.getAuthTag()])
  },
  open(sealed) {
    try {
      const decipher = createDecipheriv(CIPHER, key, sealed.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES })
      decipher.setAuthTag(sealed.subarray(-TAG_BYTES))
      const text = decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES))
      return Buffer.concat([text, decipher.final()]).toString("utf8")
    } catch {
      throw new OperatorError(
        "A stored secret was sealed under another key than the data directory's, or altered: restore key and database from the same backup.",
      )
    }
  },
  derive: (...words) => createHmac("sha256", key).update(JSON.stringify(words)).digest(),
})
