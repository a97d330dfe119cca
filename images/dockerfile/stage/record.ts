/** What is kept of an image: EXPOSE, VOLUME, STOPSIGNAL, HEALTHCHECK and ONBUILD; MAINTAINER is not. */
import { fail } from "../error.ts"
import { toExecForm } from "../text/exec-form.ts"
import { isSignal, parsePorts } from "../arguments/values.ts"
import type { Handlers } from "./stage-build.ts"
import { parseHealthcheck } from "../arguments/healthcheck.ts"
import { oneWord } from "./place.ts"
import { toTrigger } from "./trigger.ts"

const MAX_EXPOSED_PORTS = 1000
const MAX_VOLUMES = 100
const MAX_PATH_CHARACTERS = 4096

export const RECORD: Handlers = {
  EXPOSE({ rest, line }, { state: { exposedPorts, variables }, lexer }) {
    const given = lexer.words(rest, variables(), line).flatMap((word) => word.split(/\s+/).filter(Boolean))
    if (given.length === 0) fail(line, "EXPOSE requires at least one argument")
    for (const word of given) {
      const { from, to } = parsePorts(word, line) ?? { from: 1, to: 0 }
      if (to - from >= MAX_EXPOSED_PORTS) fail(line, `more than ${MAX_EXPOSED_PORTS} exposed ports`)
      for (let port = from; port <= to; port++) exposedPorts.add(port)
      if (exposedPorts.size > MAX_EXPOSED_PORTS) fail(line, `more than ${MAX_EXPOSED_PORTS} exposed ports`)
    }
  },
  VOLUME({ rest, line }, { state: { volumes, variables }, lexer }) {
    const given = toExecForm(rest, line) ?? rest.split(/\s+/).filter(Boolean)
    if (given.length === 0) fail(line, "VOLUME requires at least one argument")
    for (const word of given) {
      const path = lexer.expand(word, variables(), line).trim()
      if (path === "") fail(line, "VOLUME specified can not be an empty string")
      if (path.length > MAX_PATH_CHARACTERS) fail(line, `a path of more than ${MAX_PATH_CHARACTERS} characters`)
      volumes.add(path)
    }
    if (volumes.size > MAX_VOLUMES) fail(line, `more than ${MAX_VOLUMES} volumes`)
  },
  STOPSIGNAL(instruction, stage) {
    const given = oneWord(instruction, stage)
    if (!isSignal(given)) fail(instruction.line, `invalid signal: ${given.slice(0, 60)}`)
    stage.state.stopSignal = given
  },
  HEALTHCHECK(instruction, { state }) {
    state.healthcheck = parseHealthcheck(instruction, (check) => [...state.shell, check])
  },
  // Who wrote it changes nothing of what is run.
  MAINTAINER({ rest, line }) {
    if (rest === "") fail(line, "MAINTAINER requires an argument")
  },
  ONBUILD(instruction, { state, lexer }) {
    state.onBuild.push(toTrigger(instruction, state.onBuild, lexer.escape))
  },
}
