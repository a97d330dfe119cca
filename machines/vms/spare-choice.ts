/** Which processes are to stand ready, and which goes where there is no room for another. */
import type { Spare } from "../../src/vmm/vmm.ts"

/** Loaded, having done what a launch does; or started, with nothing loaded. */
export type Kind = "rehearsed" | "started"

/** What a VM does with one. */
export type Purpose = "launch" | "wake"

/** What stands ready for one base. */
export interface Stock {
  readonly spares: readonly Spare[]
  /** The kind that its VMs need most, as the last of them has told. */
  readonly first: Kind
}

/** One that isn't there, and how much it is needed. */
export interface Missing {
  readonly kind: Kind
  /** The one that its base needs most, not one beside it. */
  readonly isFirst: boolean
}

export const kindOf = ({ isLoaded }: Spare): Kind => (isLoaded ? "rehearsed" : "started")

export const firstOf = (purpose: Purpose): Kind => (purpose === "launch" ? "rehearsed" : "started")

/** The kinds that are to stand ready, the most urgent first. */
const toWanted = (purpose: Purpose, count: number): Kind[] => {
  const first = firstOf(purpose)
  const other = first === "started" ? "rehearsed" : "started"
  return Array.from({ length: count }, (_, index) => (index === 1 ? other : first))
}

/** The first that is missing, and one that is there and not wanted. What cannot be made here is left as others made it. */
export const compare = (
  spares: readonly Spare[],
  purpose: Purpose,
  count: number,
  canRehearse: boolean,
): { missing?: Missing; surplus?: Spare } => {
  const left = canRehearse ? [...spares] : spares.filter(({ isLoaded }) => !isLoaded)
  const madeByOthers = spares.length - left.length
  const wanted = canRehearse ? toWanted(purpose, count) : Array<Kind>(count - madeByOthers).fill("started")
  const missing = wanted
    .map((kind, index) => ({ kind, isFirst: index === 0 && madeByOthers === 0 }))
    .filter(({ kind }) => {
      const at = left.findIndex((spare) => kindOf(spare) === kind)
      if (at >= 0) left.splice(at, 1)
      return at < 0
    })
  return { ...(missing[0] && { missing: missing[0] }), ...(left[0] && { surplus: left[0] }) }
}

/**
 * What goes for one more of a base where all together are as many as there may be; nothing: it has no place. One that stands beside another
 * of its base goes before one that stands alone, which goes for no second one; of each, that of the base that is the longest unused.
 *
 * @param stocks by their bases, the longest unused first
 */
export const toGo = (
  stocks: ReadonlyMap<string, Stock>,
  baseId: string,
  isFirst: boolean,
): { baseId: string; spare: Spare } | undefined => {
  const others = [...stocks].filter(([id]) => id !== baseId)
  const own = stocks.get(baseId)
  const [id, stock] =
    others.find(([, { spares }]) => spares.length > 1) ??
    (isFirst ? (own === undefined ? others[0] : ([baseId, own] as const)) : undefined) ??
    []
  const spare = stock && (stock.spares.find((its) => kindOf(its) !== stock.first) ?? stock.spares.at(-1))
  return id === undefined || spare === undefined ? undefined : { baseId: id, spare }
}
