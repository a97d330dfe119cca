/** Runs pieces of work one after the other, in the order in which they were asked for; a failed one doesn't stop the next. */
export const createSerial = (): (<Result>(work: () => Promise<Result>) => Promise<Result>) => {
  let last: Promise<unknown> = Promise.resolve()
  return (work) => {
    const mine = last.then(work, work)
    last = mine.catch(() => undefined)
    return mine
  }
}
