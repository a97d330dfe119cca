/** What is in force at a line of a stage. It begins as what the stage's ground brings, and a stage on top of it begins as it ends. */
import type { Healthcheck } from "../../../src/db/values.ts"
import type { BaseConfig } from "../base-config.ts"
import type { Variables } from "../text/variable.ts"
import { createTable } from "../arguments/table.ts"

/** Docker's, for a base that says none. */
const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
const DEFAULT_SHELL = ["/bin/sh", "-c"]

export interface StageState {
  workingDirectory: string
  user: string
  entrypoint: readonly string[] | null
  command: readonly string[] | null
  /** It was this stage that said the command. */
  commandIsOwn: boolean
  shell: readonly string[]
  stopSignal: string | null
  healthcheck: Healthcheck | null
  readonly exposedPorts: Set<number>
  readonly volumes: Set<string>
  /** What waits for a stage that stands on this one. */
  readonly onBuild: string[]
  /** ARG and ENV, of which ENV wins; the same object until one of them changes. */
  variables(): Variables
  /** ARG alone: a stage on top of this one knows them. */
  arguments(): Variables
  setArgument(name: string, value: string, line: number): void
  setVariable(name: string, value: string, line: number): void
  setLabel(name: string, value: string, line: number): void
  /** What it is now, for what stands on it. */
  config(): BaseConfig
}

/** A stage's state on this ground, where the arguments of a stage below it are known; its triggers are not part of it, since they have been executed when anything else is. */
export const createState = (ground: BaseConfig, known: Variables, line: number): StageState => {
  const args = createTable("ARG", line, known)
  const environment = createTable("ENV", line, {
    ...(Object.hasOwn(ground.environment, "PATH") ? {} : { PATH: DEFAULT_PATH }),
    ...ground.environment,
  })
  const labels = createTable("LABEL", line, ground.labels)
  let inForce: Variables | undefined
  return {
    workingDirectory: ground.workingDirectory,
    user: ground.user,
    entrypoint: ground.entrypoint,
    command: ground.command,
    commandIsOwn: false,
    shell: ground.shell ?? DEFAULT_SHELL,
    stopSignal: ground.stopSignal,
    healthcheck: ground.healthcheck,
    exposedPorts: new Set(ground.exposedPorts),
    volumes: new Set(ground.volumes),
    onBuild: [],
    variables: () => (inForce ??= { ...args.values(), ...environment.values() }),
    arguments: () => args.values(),
    setArgument(name, value, at) {
      args.set(name, value, at)
      inForce = undefined
    },
    setVariable(name, value, at) {
      environment.set(name, value, at)
      inForce = undefined
    },
    setLabel: labels.set,
    config() {
      return {
        environment: environment.values(),
        workingDirectory: this.workingDirectory,
        user: this.user,
        entrypoint: this.entrypoint,
        command: this.command,
        exposedPorts: [...this.exposedPorts],
        labels: labels.values(),
        volumes: [...this.volumes],
        stopSignal: this.stopSignal,
        healthcheck: this.healthcheck,
        shell: this.shell,
        onBuild: this.onBuild,
      }
    },
  }
}
