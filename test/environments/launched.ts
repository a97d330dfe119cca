/** Environments of one function, launched from a runtime's base without a statechart: their guests, and what their functions answer. */
import { randomUUID } from "node:crypto"
import { chmod, mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { makeExt4 } from "../../images/ext4.ts"
import type { RuntimeDisks } from "../../images/runtimes/runtime-disks.ts"
import { toDriveFile } from "../../machines/disks.ts"
import type { MadeBase } from "../../machines/environments/base-making.ts"
import { defaultSettings } from "../../machines/functions/default-settings.ts"
import type { Definition } from "../../machines/functions/definition.ts"
import { FUNCTION_PLACES } from "../../machines/functions/disks/function-disks.ts"
import { drivesOf, toFunctionSpec } from "../../machines/functions/function-spec.ts"
import { openGuest } from "../../machines/vms/guest.ts"
import { createAgentClient } from "../../src/agent/client.ts"
import { GUEST } from "../../src/net/slot.ts"
import type { Drive } from "../../src/vmm/vmm.ts"
import type { VmHostUnderTest } from "./vm-host-under-test.ts"

const { signal } = new AbortController()
const DRIVE_MIB = 10 * 1024

export const definitionOf = (runtime: string, environment: Record<string, string> = {}): Definition => ({
  id: "definition",
  scope: { account: "000000000000", region: "us-east-1" },
  functionId: randomUUID(),
  versionId: randomUUID(),
  name: "greet",
  version: "$LATEST",
  settings: { ...defaultSettings, runtime, handler: "app.handler", timeoutSeconds: 60 },
  environment,
  code: "",
  layers: [],
})

/** The disks of a function with this code, in a new directory. */
export const makeFunctionDisks = async (directory: string, code: Readonly<Record<string, string>>) => {
  const [files, temporary] = [
    join(directory, "code", FUNCTION_PLACES.files),
    join(directory, "tmp", FUNCTION_PLACES.temporary),
  ]
  for (const path of [files, temporary]) await mkdir(path, { recursive: true })
  await chmod(temporary, 0o1777)
  for (const [name, content] of Object.entries(code)) await writeFile(join(files, name), content)
  for (const name of ["code", "tmp"])
    await makeExt4(
      join(directory, `${name}.raw`),
      { tree: join(directory, name), sizeMiB: DRIVE_MIB, label: name },
      signal,
    )
  return { code: join(directory, "code.raw"), temporary: join(directory, "tmp.raw") }
}

export interface LaunchedFrom {
  readonly under: VmHostUnderTest
  readonly base: MadeBase & { readonly directory: string; readonly memoryMiB: number }
  readonly runtime: Pick<RuntimeDisks, "runtimeDisk">
  readonly disks: { readonly code: string; readonly temporary: string }
}

/** Launches one and gives its guest the function, events of which it answers; disposing it ends its VM. */
export const launchFunction = async ({ under, base, runtime, disks }: LaunchedFrom, definition: Definition) => {
  await using opened = new AsyncDisposableStack()
  const { host, artifacts, createOverlay } = under
  const vmId = randomUUID()
  const directory = host.directoryOf(vmId)
  await mkdir(join(directory, "disk"), { recursive: true })
  const [root, temporary] = [join(directory, "disk/0.qcow2"), join(directory, "disk/temporary.qcow2")]
  for (const overlay of [root, temporary]) await createOverlay(overlay)
  const readOnly = (path: string): Drive => ({ chain: [toDriveFile(path)], readOnly: true })
  const slot = await host.slots.take(signal)
  opened.defer(() => host.slots.release(slot))
  const vm = await host.vmm.launch(
    {
      vmId,
      slot,
      directory,
      memoryMiB: base.memoryMiB,
      vcpus: 1,
      base,
      systemDisk: artifacts.systemDisk,
      rootDisk: [...base.rootDisk, root].map(toDriveFile),
      extraDrives: [
        readOnly(runtime.runtimeDisk),
        readOnly(disks.code),
        readOnly(artifacts.emptyDrive),
        { chain: [disks.temporary, temporary].map(toDriveFile), readOnly: false },
      ],
    },
    signal,
  )
  opened.defer(() => vm.kill())
  const guest = await openGuest(vm.ports, signal)
  opened.defer(() => guest.close())
  const secret = host.secretOf(vmId, 1)
  await vm.continue()
  await guest.thaw({ hostname: "guest", machineId: vmId.replaceAll("-", ""), incarnation: 1, secret }, signal)
  const agent = createAgentClient(slot.address, GUEST.agentPort, secret)
  opened.defer(() => agent.close())
  await agent.mountDrives(drivesOf(definition), signal)
  const told = { initialization: "on-demand", logGroup: "/aws/lambda/greet", logStream: vmId } as const
  await agent.startFunction(toFunctionSpec(definition, told), signal)
  const held = opened.move()
  return {
    /** What the function answers, or its failure. */
    async invoke(event: unknown): Promise<unknown> {
      const chunks: Buffer[] = []
      const spec = {
        requestId: randomUUID(),
        deadlineMs: Date.now() + 60_000,
        functionArn: "arn:f",
        mode: "buffered",
      } as const
      for await (const { kind, content } of agent.invokeFunction(spec, Buffer.from(JSON.stringify(event)), signal))
        if (kind === "data" || kind === "failure") chunks.push(content)
      return JSON.parse(Buffer.concat(chunks).toString("utf8")) as unknown
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}
