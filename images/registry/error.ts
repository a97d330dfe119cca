/** Why an image cannot be had, as one sentence for who builds on it; it holds no secret. */
export class RegistryError extends Error {
  override readonly name = "RegistryError"
}
