/**
 * What V8 does where objects come that have another shape than those before, as what is said of a function and its events always is: done
 * in training, so that an emulator has translated it before anybody waits for it.
 */
import { runInThisContext } from "node:vm"

let times = 0

/** Each time with code and names that it has never seen: what it has learned about the last is of no use for them. */
export const meetOtherShapes = (): void => {
  times++
  const meet = runInThisContext(`(${String(encounter)})\n//${times}`) as typeof encounter
  meet(`shape${times}`)
}

/** Uses nothing from outside: it is compiled by its text. */
const encounter = (name: string): number => {
  interface Thing {
    [key: string]: unknown
    common?: unknown
  }
  class Base {
    common = 1
    get size() {
      return name.length
    }
    told(word: string) {
      return `${word}${this.common}`
    }
  }
  class Derived extends Base {
    own = { name }
    override told(word: string) {
      return super.told(word)
    }
  }
  const parsed = JSON.parse(
    `{"${name}":{"${name}a":1,"${name}b":"x","common":2},"list":[1,"a",{"${name}c":null}],"common":true}`,
  ) as Thing
  const added: Thing = {}
  for (const letter of "abcdefgh") added[`${name}${letter}`] = letter
  added.common = 2
  const bare = Object.create(null) as Thing
  bare.common = name
  const many = Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`${name}${index}`, index])) as Thing
  const lessened: Thing = { ...added, common: 1.5 }
  delete lessened[`${name}a`]
  const things: Thing[] = [
    parsed,
    added,
    bare,
    many,
    lessened,
    new Base() as unknown as Thing,
    new Derived() as unknown as Thing,
    Object.create(new Derived()) as Thing,
    Object.freeze({ common: name, [name]: 1 }),
    Object.defineProperty({ [`${name}z`]: 0 }, "common", { get: () => name }),
    [1, 2.5, name] as unknown as Thing,
    Object.assign(() => {}, { common: 3 }) as unknown as Thing,
  ]
  const read = (thing: Thing) => [thing.common, thing["size"], thing["none"], typeof thing["told"]]
  const write = (thing: Thing) => {
    if (Object.isFrozen(thing) || Object.hasOwn(thing, "common")) return thing
    thing.common = name
    thing["later"] = { name }
    return thing
  }
  const pick = ({ common, list = [], ...rest }: Thing) => [common, list, Object.keys(rest).length]
  const copy = (thing: Thing): Thing => ({ ...thing, [name]: thing, common: undefined })
  const at = (list: ArrayLike<unknown>, index: number) => list[index]
  const lists = [[1, 2], [1.5], [name, {}], Array(3), name, new Uint8Array(2), Object.freeze(["a"])]
  const sum = (keyed: Record<string, unknown>, keys: readonly (string | number)[]) =>
    keys.reduce<number>((found, key) => found + (keyed[key] === undefined ? 0 : 1), 0)
  let count = lists.reduce((found, list) => found + (at(list, 0) === undefined ? 0 : 1), 0)
  for (const thing of things) {
    const keys = Object.keys(thing)
    for (const key in thing) count += key.length
    count += read(thing).length + pick(copy(thing)).length + sum(thing, [...keys, 0, 1, "none"])
    count += JSON.stringify(copy(Object.assign({}, write(thing)))).length + Object.entries(thing).length
    count += thing instanceof Base ? thing.told(name).length : 0
  }
  return count
}
