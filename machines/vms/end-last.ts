/**
 * A VM is ended when nothing is done to it any more. A launch that is given up takes its time: ended beside it, the VM would have a
 * directory, a slot and booked memory again that nobody gives back.
 */
type Verb = (vmId: string, ...given: never[]) => Promise<unknown>

/** The same verbs; `end` waits until those that were begun on the same VM have settled, as each does soon once it is aborted. */
export const endLast = <Verbs extends { end(vmId: string): Promise<void> }>(verbs: Verbs): Verbs => {
  const atWork = new Map<string, Set<Promise<unknown>>>()
  const noted =
    (verb: Verb): Verb =>
    (vmId, ...given) => {
      const work = verb(vmId, ...given)
      const ofVm = atWork.get(vmId) ?? new Set()
      atWork.set(vmId, ofVm.add(work))
      const done = () => {
        if (ofVm.delete(work) && ofVm.size === 0) atWork.delete(vmId)
      }
      work.then(done, done)
      return work
    }
  const { end, ...others } = verbs
  return {
    ...Object.fromEntries(Object.entries(others).map(([name, verb]) => [name, noted(verb as Verb)])),
    async end(vmId) {
      await Promise.allSettled(atWork.get(vmId) ?? new Set<Promise<unknown>>())
      await end(vmId)
    },
  } as Verbs
}
