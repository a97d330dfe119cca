import { createCipheriv, createDecipheriv, createHmac, randomBytes } from "node:crypto"

/** Seals what is secret at rest (AES-256-GCM), and derives what needn't be stored at all. */
export interface Secrets {
  seal(text: string): Buffer
  /** Throws when the text was sealed under another key, or altered. */
  open(sealed: Buffer): string
  /** 32 bytes that only this key gives for these words. */
  derive(...words: string[]): Buffer
}

const [NONCE_BYTES, TAG_BYTES] = [12, 16]

/** Secrets under a key of 32 bytes. */
export const createSecrets = (key: Buffer): Secrets => ({
  seal(text) {
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv("aes-256-gcm", key, nonce)
    return Buffer.concat([nonce, cipher.update(text, "utf8"), cipher.final(), cipher.getAuthTag()])
  },
  open(sealed) {
    const decipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(0, NONCE_BYTES))
    decipher.setAuthTag(sealed.subarray(-TAG_BYTES))
    return Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]).toString("utf8")
  },
  derive: (...words) => createHmac("sha256", key).update(JSON.stringify(words)).digest(),
})
