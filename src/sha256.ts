import { createHash, createHmac } from "node:crypto"

/** The hash that the signer asks for. */
export class Sha256 {
  readonly #key: string | Uint8Array | undefined
  #chunks: (string | Uint8Array)[] = []

  constructor(key?: string | Uint8Array | ArrayBuffer | ArrayBufferView) {
    this.#key = key as string | Uint8Array | undefined
  }

  update(chunk: string | Uint8Array): void {
    this.#chunks.push(chunk)
  }

  async digest(): Promise<Uint8Array> {
    const hash = this.#key === undefined ? createHash("sha256") : createHmac("sha256", this.#key)
    for (const chunk of this.#chunks) hash.update(chunk)
    return hash.digest()
  }

  reset(): void {
    this.#chunks = []
  }
}
