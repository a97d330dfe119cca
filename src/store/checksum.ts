import { createHash } from "node:crypto"
import { crc32 } from "node:zlib"
import { Crc32c, Crc64Nvme } from "@aws-sdk/checksums/crc"

export const checksumAlgorithms = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"] as const
export type ChecksumAlgorithm = (typeof checksumAlgorithms)[number]

/** A checksum in the making. */
export interface Checksum {
  update(bytes: Uint8Array): void
  digest(): Promise<Buffer>
}

const createCrc32 = (): Checksum => {
  let value = 0
  return {
    update: (bytes) => {
      value = crc32(bytes, value)
    },
    digest: async () => {
      const digest = Buffer.alloc(4)
      digest.writeUInt32BE(value)
      return digest
    },
  }
}

const fromSdk = (checksum: { update(bytes: Uint8Array): void; digest(): Promise<Uint8Array> }): Checksum => ({
  update: (bytes) => checksum.update(bytes),
  digest: async () => Buffer.from(await checksum.digest()),
})

/** Starts one of S3's checksums, or the MD5 that ETags are made of. */
export const createChecksum = (algorithm: ChecksumAlgorithm | "MD5"): Checksum => {
  switch (algorithm) {
    case "CRC32":
      return createCrc32()
    case "CRC32C":
      return fromSdk(new Crc32c())
    case "CRC64NVME":
      return fromSdk(new Crc64Nvme())
    case "MD5":
    case "SHA1":
    case "SHA256": {
      const hash = createHash(algorithm.toLowerCase())
      return { update: (bytes) => void hash.update(bytes), digest: async () => hash.digest() }
    }
    default:
      return algorithm satisfies never
  }
}
