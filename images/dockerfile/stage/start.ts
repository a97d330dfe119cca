/** CMD, ENTRYPOINT and the SHELL that reads them. Source: https://docs.docker.com/reference/dockerfile/#understand-how-cmd-and-entrypoint-interact */
import { fail } from "../error.ts"
import { toExecForm } from "../text/exec-form.ts"
import type { Handlers } from "./stage-build.ts"
import type { BaseConfig } from "../base-config.ts"

/** Every step behind it has them. */
const MAX_SHELL_CHARACTERS = 4096

export const START: Handlers = {
  CMD({ rest, line }, { state }) {
    state.command = rest === "" ? [] : (toExecForm(rest, line) ?? [...state.shell, rest])
    state.commandIsOwn = true
  },
  ENTRYPOINT({ rest, line }, { state }) {
    state.entrypoint = rest === "" ? [] : (toExecForm(rest, line) ?? [...state.shell, rest])
    // It was meant for another program.
    if (!state.commandIsOwn) state.command = null
  },
  SHELL({ rest, line }, { state }) {
    const given = toExecForm(rest, line) ?? []
    if (given.length === 0) fail(line, "SHELL requires the arguments to be in JSON form")
    if (given.join("").length > MAX_SHELL_CHARACTERS)
      fail(line, `SHELL says more than ${MAX_SHELL_CHARACTERS} characters`)
    state.shell = given
  },
}

/** What a running image executes. A shell takes the CMD behind its ENTRYPOINT as its own arguments, and so nobody hears of it. */
export const startOf = ({ entrypoint, command }: BaseConfig): string[] => [...(entrypoint ?? []), ...(command ?? [])]
