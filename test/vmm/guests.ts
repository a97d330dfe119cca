/** Guests of one host: a base of an application that holds something in its memory, and what is launched from it. */
import { randomBytes, randomUUID } from "node:crypto"
import { once } from "node:events"
import { chmod, chown, rename } from "node:fs/promises"
import { connect } from "node:net"
import { join } from "node:path"
import { openGuest, type Guest } from "../../machines/vms/guest.ts"
import { createAgentClient, type AgentClient } from "../../src/agent/client.ts"
import type { ProcessSpec } from "../../src/agent/protocol.ts"
import { GUEST } from "../../src/net/slot.ts"
import type { BasePaths, BootSpec, DeltaPaths, DriveFile, LaunchSpec, Vm, VmSpec } from "../../src/vmm/vmm.ts"
import type { VmmHost } from "./vmm-host.ts"

const signal = new AbortController().signal

export interface BootedGuest {
  readonly vm: Vm
  readonly guest: Guest
  readonly agent: AgentClient
}

export interface Guests {
  readonly base: BasePaths
  bootSpec(): Promise<BootSpec & { overlay: string }>
  /** Of the one base, on any host. */
  launchSpec(on?: VmmHost): Promise<LaunchSpec>
  /** Boots up to the agent's hello and makes it ready to be asked. */
  boot(spec: BootSpec): Promise<BootedGuest>
  launch(spec: LaunchSpec, on?: VmmHost): Promise<Vm>
  /** Launches, lets run and closes what spoke to the guest. */
  wake(spec: LaunchSpec, incarnation: number, on?: VmmHost): Promise<Vm>
  /** Puts a running VM to sleep and gives its slot back; what it answers wakes it. */
  sleep(vm: Vm, spec: LaunchSpec, incarnation: number): Promise<LaunchSpec>
  /** Counts a VM that came otherwise among them. */
  hold(vm: Vm): void
  /** Ends what still lives of them. */
  endAll(): Promise<void>
}

/** Boots a guest, starts the application and makes a base of both. */
export const createGuests = async (host: VmmHost): Promise<Guests> => {
  const base: BasePaths = { directory: join(host.directory, "base") }
  const living: Vm[] = []
  const bootSpec = async (): Promise<BootSpec & { overlay: string }> => {
    const spec = await host.newVm()
    const { kernel, initramfs, systemDisk, rootDisk: image } = host.artifacts
    return {
      ...spec,
      kernel,
      initramfs,
      systemDisk,
      rootDisk: [
        { path: image, format: "raw" },
        { path: spec.overlay, format: "qcow2" },
      ],
      extraDrives: [],
      memoryFile: join(spec.directory, "ram"),
    }
  }
  const launchSpec = async (on = host): Promise<LaunchSpec> => {
    const { overlay, ...spec } = await on.newVm()
    const { systemDisk } = host.artifacts
    const disk = [...rootDisk, { path: overlay, format: "qcow2" } as const]
    return { ...spec, base, systemDisk, rootDisk: disk, extraDrives: [] }
  }
  const launch = async (spec: LaunchSpec, on = host): Promise<Vm> => {
    const vm = await on.vmm.launch(spec, signal)
    living.push(vm)
    return vm
  }
  const boot = async (spec: BootSpec): Promise<BootedGuest> => {
    const vm = await host.vmm.boot(spec, signal)
    living.push(vm)
    const guest = await openGuest(vm.ports, signal)
    await guest.ready
    const identity = identityFor(spec.vmId, 1)
    await guest.thaw(identity, signal)
    const agent = createAgentClient(spec.slot.address, GUEST.agentPort, identity.secret)
    await agent.mountDisk(signal)
    return { vm, guest, agent }
  }
  const sleep = async (vm: Vm, spec: LaunchSpec, incarnation: number): Promise<LaunchSpec> => {
    const delta = await putToSleep(vm, incarnation)
    return { ...(await host.moved(spec)), delta }
  }
  const wake = async (spec: LaunchSpec, incarnation: number, on = host): Promise<Vm> => {
    const vm = await launch(spec, on)
    ;(await runGuest(vm, incarnation)).close()
    return vm
  }
  const hold = (vm: Vm) => void living.push(vm)
  const endAll = async () => {
    for (const vm of living.splice(0)) await vm.kill()
  }

  const makeBase = async (): Promise<readonly DriveFile[]> => {
    const spec = await bootSpec()
    const { vm, guest, agent } = await boot(spec)
    await startApplication(agent)
    await agent.settle(signal)
    agent.close()
    await guest.freeze(signal)
    await vm.pause()
    await vm.saveBase(base, randomUUID())
    guest.close()
    await vm.kill()
    const top = join(base.directory, "root.qcow2")
    await chown(spec.overlay, 0, 0)
    await chmod(spec.overlay, 0o444)
    await rename(spec.overlay, top)
    return [...spec.rootDisk.slice(0, -1), { path: top, format: "qcow2" }]
  }
  /** The files of the base's root disk, bottom first. */
  const rootDisk = await makeBase()
  return { base, bootSpec, launchSpec, boot, launch, wake, sleep, hold, endAll }
}

/**
 * The application in the guests: it holds some bytes in its memory, takes one line per connection (`put TEXT`, `fill MIB` with random
 * bytes, `clear` to zeros, `get`), and answers with the SHA-256 of what it then holds.
 */
const APPLICATION = `
import hashlib, os, socket
held = bytearray(os.urandom(2 << 20))
server = socket.create_server(("127.0.0.1", 8080))
while True:
    connection, _ = server.accept()
    with connection, connection.makefile("rw") as lines:
        verb, _, text = lines.readline().strip().partition(" ")
        if verb == "put": held = bytearray(text.encode())
        if verb == "fill": held = bytearray(os.urandom(int(text) << 20))
        if verb == "clear": held[:] = bytes(len(held))
        # Who only looks whether somebody listens says nothing, and is gone.
        if verb: print(hashlib.sha256(held).hexdigest(), file=lines, flush=True)
`

/** Resolves when it accepts connections; rejects with its words when it ends instead. */
const startApplication = async (agent: AgentClient): Promise<void> => {
  await agent.startProcess("main", command(["python3", "-c", APPLICATION], { container: "app" }), signal)
  const listening = new AbortController()
  let words = ""
  const ended = agent.followOutput("main", (data) => (words += data), listening.signal)
  const failed = ended.then(() => Promise.reject(new Error(`The application ended: ${words}`)))
  await Promise.race([agent.untilListening(8080, signal), failed])
  listening.abort()
  await failed.catch(() => {})
}

/** A process of the guest's image, as root. */
export const command = (argv: string[], more: Partial<ProcessSpec> = {}): ProcessSpec => ({
  argv,
  env: { PATH: "/usr/bin:/bin" },
  cwd: "/",
  user: "0:0",
  capabilities: "default",
  memoryMaxMiB: null,
  container: "build",
  ...more,
})

/** Runs a command in the guest and resolves with what it said. */
export const outputOf = async (agent: AgentClient, argv: string[], more: Partial<ProcessSpec> = {}) => {
  const process = `step-${randomUUID().slice(0, 8)}`
  let text = ""
  await agent.startProcess(process, command(argv, more), signal)
  const end = await agent.followOutput(process, (data) => (text += data), signal)
  return { code: end.code, text }
}

/** Continues a VM that was launched, as its owner does: connected first, then running, then thawed. The caller closes what it answers. */
export const runGuest = async (vm: Vm, incarnation = 1): Promise<Guest> => {
  const guest = await openGuest(vm.ports, signal)
  await vm.continue()
  await guest.thaw(identityFor(vm.spec.vmId, incarnation), signal)
  return guest
}

/** Puts a running VM to sleep; what it answers is in its directory, and wakes it. */
export const putToSleep = async (vm: Vm, incarnation: number): Promise<DeltaPaths> => {
  const { directory } = vm.spec
  const delta = {
    file: join(directory, `delta-${incarnation}`),
    state: join(directory, `state-${incarnation}`),
    incarnation,
  }
  const guest = await openGuest(vm.ports, signal)
  await guest.freeze(signal)
  await vm.pause()
  await vm.saveDelta(delta)
  guest.close()
  await vm.kill()
  return delta
}

/** Who a VM is told to be. */
export const identityFor = (vmId: string, incarnation: number) => ({
  hostname: `vm-${vmId.slice(0, 8)}`,
  machineId: vmId.replaceAll("-", ""),
  incarnation,
  secret: randomBytes(32),
})

/** Says a line to the application of a VM and resolves with its answer. */
export const ask = async ({ slot }: VmSpec, line: string): Promise<string> => {
  const socket = connect(8080, slot.address)
  let answer = ""
  socket.setEncoding("utf8").on("data", (text: string) => (answer += text))
  socket.write(`${line}\n`)
  await once(socket, "close")
  return answer.trim()
}
