/** RUN. Source: https://docs.docker.com/reference/dockerfile/#run */
import { fail } from "../error.ts"
import { PIPES } from "../step.ts"
import { toExecForm } from "../text/exec-form.ts"
import { readFlags } from "../text/flags.ts"
import type { Handlers } from "./stage-build.ts"
import { commandOf, scriptOf } from "../arguments/inline.ts"
import { parseMount } from "../arguments/mount.ts"

const FLAGS = { mount: "list", network: "text", security: "text", device: "list" } as const
const MAX_MOUNTS = 50
/** Linux takes no longer argument. */
const MAX_ARGUMENT_BYTES = 128 * 1024 - 1

export const RUN: Handlers = {
  async RUN(instruction, stage) {
    const { rest, line, flags } = instruction
    const { state } = stage
    const given = readFlags(flags, FLAGS, line)
    const exec = toExecForm(rest, line)
    if (rest === "" || exec?.length === 0) fail(line, "RUN requires a command")
    const script = scriptOf(instruction)
    const argv = exec ?? (script === null ? [...state.shell, commandOf(instruction)] : [`${PIPES}/${script.name}`])
    if (argv.some((word) => Buffer.byteLength(word) > MAX_ARGUMENT_BYTES))
      fail(line, `RUN's command is longer than the ${MAX_ARGUMENT_BYTES} bytes that Linux takes: COPY it as a script`)
    const network = given.text("network") ?? "default"
    if (network === "host") fail(line, "RUN --network=host is not supported: a build has a network of its own")
    if (network !== "default" && network !== "none") fail(line, `invalid network mode '${network.slice(0, 60)}'`)
    const security = given.text("security") ?? "sandbox"
    if (security === "insecure")
      fail(line, "RUN --security=insecure is not supported: a step has Docker's default rights")
    if (security !== "sandbox") fail(line, `security '${security.slice(0, 60)}' is not valid`)
    if (given.list("device").length > 0) fail(line, "RUN --device is not supported: a build VM has no devices to give")
    const texts = given.list("mount")
    if (texts.length > MAX_MOUNTS) fail(line, `more than ${MAX_MOUNTS} mounts`)
    const mounts = []
    for (const text of texts) mounts.push(await parseMount(text, line, stage))
    stage.add(instruction, {
      kind: "run",
      argv,
      script,
      environment: state.variables(),
      workingDirectory: state.workingDirectory,
      user: state.user,
      mounts,
      network: network === "none" ? "none" : "default",
    })
  },
}
