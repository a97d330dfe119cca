// What the functions of training have in a file of its own, as most that are larger than a page.
class Named {
  static #count = 0
  constructor(name) {
    this.name = name
    Named.#count++
  }

  static get count() {
    return Named.#count
  }

  toString() {
    return `${this.constructor.name} ${this.name}`
  }
}

export class Account extends Named {
  #balance = 0
  history = []

  constructor(name, { balance = 0 } = {}) {
    super(name)
    this.#balance = balance
  }

  get balance() {
    return this.#balance
  }

  set balance(value) {
    this.#balance = value
  }

  deposit(amount) {
    this.balance += amount
    this.history.push({ kind: "deposit", amount })
    return this
  }

  withdraw(amount) {
    if (amount > this.balance) throw new RangeError(`${super.toString()} has only ${this.balance}`)
    this.balance -= amount
  }

  toJSON() {
    return { name: this.name, balance: this.balance, count: Named.count }
  }
}

export function* walk(value) {
  if (typeof value !== "object" || value === null) return
  for (const [key, inner] of Object.entries(value)) {
    yield key
    yield* walk(inner)
  }
}
