/** Base images from registries: what a reference names, as verified files in the cache. */
import type { BaseConfig } from "../dockerfile/base-config.ts"

/** What a reference names right now; nothing of its layers is fetched yet. */
export interface ResolvedImage {
  /** `registry/repository@sha256:…`: it names the same image for ever. */
  readonly reference: string
  /** `sha256:…` of the manifest for our platform. */
  readonly digest: string
  /** `sha256:…` of its layers' digests: equal for images that differ in their configurations alone. */
  readonly content: string
  readonly config: BaseConfig
  /** Of all layers, as they are fetched. */
  readonly bytes: number
}

export interface Layer {
  readonly digest: string
  /** Of the file, which is a tar, as it is or compressed by gzip or zstd. */
  readonly bytes: number
  /** In the cache; root's, and never changed. */
  readonly file: string
}

/** Its layers stay in the cache for an hour at least. */
export interface RegistryImage extends ResolvedImage {
  /** The lowest first. */
  readonly layers: readonly Layer[]
}

export interface Registry {
  /**
   * Asks for a reference's manifest and configuration. A tag is asked for each time; a digest that is in the cache needs no network.
   * Throws a {@link RegistryError} in words for who builds on it.
   */
  resolve(reference: string, signal: AbortSignal): Promise<ResolvedImage>
  /**
   * As {@link Registry.resolve}, and then all of its layers are in the cache, verified. `log` hears how it goes on.
   */
  fetch(reference: string, log: (line: string) => void, signal: AbortSignal): Promise<RegistryImage>
}
