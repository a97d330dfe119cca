/** Keys in S3's order, that of their UTF-8 bytes, without any bytes being made of them: a bucket may have very many. */

/** Surrogates stand for what is behind all else in UTF-8, and before U+E000 in UTF-16. */
const rank = (unit: number) => (unit >= 0xe000 ? unit - 0x800 : unit >= 0xd800 ? unit + 0x2000 : unit)

/** Negative when `a` comes first. */
export const compareKeys = (a: string, b: string): number => {
  const shared = Math.min(a.length, b.length)
  for (let index = 0; index < shared; index++) {
    const [x, y] = [a.charCodeAt(index), b.charCodeAt(index)]
    if (x !== y) return rank(x) - rank(y)
  }
  return a.length - b.length
}

/** Where the keys begin, of sorted ones, that are not before this one. */
export const placeOfKey = (keys: readonly string[], key: string): number => {
  let [low, high] = [0, keys.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareKeys(keys[middle] ?? "", key) < 0) low = middle + 1
    else high = middle
  }
  return low
}
