import type { Environment } from "../../../environments/environments.ts"

/** Environments that wait for an event, by what they run. */
export interface IdleEnvironments {
  add(environment: Environment): void
  /** Answers whether it was there. */
  delete(environment: Environment): boolean
  /** One of a definition: of those that are kept initialised, else of the others, the one that was used last: the rest grow old. */
  take(definitionId: string): Environment | undefined
  /** Of those that nobody wants kept and that have memory to give back, the one that has waited longest, whatever it runs. */
  longest(): Environment | undefined
  readonly size: number
}

export const isKept = ({ initialization }: Environment): boolean => initialization === "provisioned-concurrency"

export const createIdleEnvironments = (): IdleEnvironments => {
  const byDefinition = new Map<string, Environment[]>()
  const byAge = new Set<Environment>()

  const remove = (environment: Environment): boolean => {
    if (!byAge.delete(environment)) return false
    const left = (byDefinition.get(environment.definitionId) ?? []).filter((other) => other !== environment)
    if (left.length > 0) byDefinition.set(environment.definitionId, left)
    else byDefinition.delete(environment.definitionId)
    return true
  }

  return {
    add(environment) {
      byAge.add(environment)
      const those = byDefinition.get(environment.definitionId)
      if (those === undefined) byDefinition.set(environment.definitionId, [environment])
      else those.push(environment)
    },
    delete: remove,
    take(definitionId) {
      const those = byDefinition.get(definitionId)
      const taken = those?.findLast(isKept) ?? those?.at(-1)
      if (taken !== undefined) remove(taken)
      return taken
    },
    longest: () => byAge.values().find((environment) => !isKept(environment) && environment.memoryMiB > 0),
    get size() {
      return byAge.size
    },
  }
}
