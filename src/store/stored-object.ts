import type { ChecksumAlgorithm } from "./checksum.ts"

/** A composite checksum is one over the parts' checksums, followed by `-N`, their number. */
export type ChecksumType = "FULL_OBJECT" | "COMPOSITE"

export interface ObjectChecksum {
  readonly algorithm: ChecksumAlgorithm
  readonly type: ChecksumType
  /** Base64. */
  readonly value: string
}

/** What is known of an object beside its bytes. */
export interface StoredObject {
  readonly key: string
  readonly bytes: number
  /** Without quotes. */
  readonly etag: string
  readonly modifiedAt: Date
  /** Headers that were given with it and are given back: its type and `x-amz-meta-*`. */
  readonly headers: Readonly<Record<string, string>>
  readonly checksum: ObjectChecksum | null
}

/** What a body must turn out to be; known only once it is read, since a trailer may say it. */
export interface Expected {
  readonly md5: Buffer | undefined
  /** Base64. */
  readonly checksum: string | undefined
}
