/** IPv4 addresses and ranges as numbers; no name is ever looked up here. */
import { OperatorError } from "../errors.ts"

/** `a.b.c.d` as a number, or `undefined`. A leading zero is refused: some programs read it as octal. */
export const parseAddress = (text: string): number | undefined => {
  const parts = text.split(".")
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256))
    return undefined
  return parts.reduce((sum, part) => sum * 256 + Number(part), 0)
}

/** A number as `a.b.c.d`. */
export const toAddress = (value: number): string => [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join(".")

export interface Range {
  readonly first: number
  readonly bits: number
}

/** `a.b.c.d/n`, whose host bits are zero, or a single address; throws an {@link OperatorError} on anything else. */
export const parseRange = (text: string): Range => {
  const [, address = "", bitsText = "32"] = /^([\d.]+)(?:\/(\d{1,2}))?$/.exec(text) ?? []
  const [first, bits] = [parseAddress(address), Number(bitsText)]
  if (first === undefined || bits > 32) throw new OperatorError(`'${text}' is no IPv4 range (a.b.c.d/n).`)
  if (first % 2 ** (32 - bits) !== 0) throw new OperatorError(`'${text}' has bits set behind its prefix.`)
  return { first, bits }
}

/** The two addresses of a slot's link: the host's end and the namespace's. */
export const slotAddresses = ({ first, bits }: Range, index: number): { host: string; inside: string } => {
  if (2 * index + 1 >= 2 ** (32 - bits)) throw new OperatorError(`The address range has no room for slot ${index}.`)
  return { host: toAddress(first + 2 * index), inside: toAddress(first + 2 * index + 1) }
}
