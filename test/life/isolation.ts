/** What keeps a guest away from its host, seen from inside. */
import { readFile, readlink } from "node:fs/promises"
import { SuspendMicrovmCommand, TerminateMicrovmCommand } from "@aws-sdk/client-lambda-microvms"
import { networkInterfaces } from "node:os"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { linkPrefix } from "../../src/net/policy.ts"
import { jsonOf } from "../fixtures/answers.ts"
import { eventually } from "../fixtures/eventually.ts"
import { processesOf, type TestDaemon, type TestVm } from "../fixtures/daemon.ts"
import { toAnswer } from "../net/dns-messages.ts"
import { createEndpoints, type Endpoints } from "../net/endpoints.ts"
import { openNameServer, type TestNameServer } from "../net/name-server.ts"
import { slotsOf } from "./traces.ts"

const POSTGRES_PORT = 5432

/** On every address of the host: what keeps a guest away is the rules, not a socket that listens elsewhere. */
export const ON_EVERY_ADDRESS = { TORPOR_API_ADDRESS: "0.0.0.0", TORPOR_EDGE_ADDRESS: "0.0.0.0" }

/** Knows one address, and says what is long by TCP alone. */
export const openNames = () =>
  openNameServer(({ transport, name, message }) => [
    toAnswer(
      message,
      transport === "udp" && name.startsWith("long") ? { truncated: true } : { data: [Buffer.from([203, 0, 113, 7])] },
    ),
  ])

/** Of a daemon {@link ON_EVERY_ADDRESS} that asks {@link openNames}, with the image `inspector`. */
export const describeIsolation = (
  ground: () => { readonly daemon: TestDaemon; readonly nameServer: TestNameServer },
) => {
  describe("Isolation", () => {
    const opened = new AsyncDisposableStack()
    let daemon: TestDaemon
    let vm: TestVm
    let host: Endpoints
    beforeAll(async () => {
      ;({ daemon } = ground())
      host = createEndpoints()
      opened.defer(() => host.close())
      // But for the two that are ready: links of VMs that end would go while their addresses are tried.
      await eventually(() => expect(slotsOf(daemon.hostId)).toHaveLength(2))
      vm = await daemon.run({ image: "inspector" })
      opened.defer(async () => {
        vm.close()
        await daemon.client.send(new TerminateMicrovmCommand({ microvmIdentifier: vm.id }))
      })
    })
    afterAll(() => opened.disposeAsync())

    const ask = async (path: string) => (await jsonOf<{ result: unknown }>(daemon, vm, path)).result
    const addressesOf = (family: "IPv4" | "IPv6") =>
      Object.entries(networkInterfaces())
        // Other daemons' links come and go.
        .filter(([name]) => name.startsWith(linkPrefix(daemon.hostId)) || !/^[ti][0-9a-f]{8}-/.test(name))
        .flatMap(([name, all]) => (all ?? []).map((one) => ({ name, ...one })))
        .filter((one) => one.family === family && !one.internal)

    test("A guest finds names by its host's resolver, long answers too, after a sleep as well", async () => {
      for (let lives = 1; lives <= 2; lives++) {
        expect(await ask("/lookup?name=www.example.org")).toEqual(["203.0.113.7"])
        expect(await ask("/lookup?name=long.example.org")).toEqual(["203.0.113.7"])
        expect(await ask("/lookup6?name=www.example.org")).toBe("ENODATA")
        if (lives === 2) break
        await daemon.client.send(new SuspendMicrovmCommand({ microvmIdentifier: vm.id }))
        await daemon.untilState(vm.id, "SUSPENDED")
      }
      expect(ground().nameServer.asked.map(({ transport, name }) => `${transport} ${name}`)).toEqual(
        expect.arrayContaining(["udp www.example.org", "udp long.example.org", "tcp long.example.org"]),
      )
    })

    test("A guest reaches nothing of its host: not the API, the edge or Postgres, by TCP or UDP, at any address", async () => {
      await daemon.untilState(vm.id, "RUNNING")
      const addresses = addressesOf("IPv4")
      const links = addresses.filter(({ name }) => name.startsWith(linkPrefix(daemon.hostId)))
      expect(links.length).toBeGreaterThanOrEqual(1)
      for (const { address } of links) await host.listen({ host: address, port: POSTGRES_PORT })
      for (const { address } of addresses) {
        const port = await host.listen({ host: address, port: 0 })
        expect((await fetch(`http://${address}:${daemon.apiPort}/healthz`)).status).toBe(200)
        for (const target of [daemon.apiPort, daemon.edgePort, POSTGRES_PORT, port]) {
          const result = await ask(`/reach?host=${address}&port=${target}`)
          expect(result, `${address}:${target}`).toMatch(/ECONNREFUSED|EHOSTUNREACH/)
          await ask(`/send?host=${address}&port=${target}`)
        }
      }
      // Its answer left the guest after all of that.
      await ask("/lookup?name=www.example.org")
      expect(await host.heard()).toEqual([])
    })

    test("A guest has no IPv6", async () => {
      const port = await host.listen({ host: "::", port: 0 })
      const addresses = addressesOf("IPv6").map(({ address }) => address)
      for (const address of [...addresses, "2001:db8::1", "fe80::1"]) {
        expect(await ask(`/reach?host=${address}&port=${port}`), address).toMatch(/^E[A-Z]+$/)
        expect(await ask(`/send?host=${address}&port=${port}`), address).toMatch(/^E[A-Z]+$/)
      }
      expect(await host.heard()).toEqual([])
    })

    test("A VMM process has a uid of its own, no capabilities, a system call filter and its own namespaces", async () => {
      // However it was left.
      await vm.get("/count")
      const other = await daemon.run({ image: "inspector" })
      await daemon.untilState(other.id, "RUNNING")
      const pids = processesOf(daemon.hostId.slice(0, 8))
      expect(pids.length).toBeGreaterThanOrEqual(2)
      const uids = new Set<string>()
      for (const pid of pids) {
        const status = new Map(
          (await readFile(`/proc/${pid}/status`, "utf8"))
            .split("\n")
            .map((line) => line.split(":\t") as [string, string]),
        )
        const ids = (status.get("Uid") ?? "").split("\t")
        expect(new Set(ids).size, "real, effective, saved and file system uid").toBe(1)
        uids.add(ids[0] ?? "")
        for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"])
          expect(status.get(set), set).toMatch(/^0+$/)
        expect(status.get("NoNewPrivs")).toBe("1")
        expect(status.get("Seccomp")).toBe("2")
        for (const kind of ["net", "mnt", "pid"])
          expect(await readlink(`/proc/${pid}/ns/${kind}`), kind).not.toBe(await readlink(`/proc/self/ns/${kind}`))
      }
      expect(uids.size).toBe(pids.length)
      expect(uids).not.toContain("0")
      other.close()
      await daemon.client.send(new TerminateMicrovmCommand({ microvmIdentifier: other.id }))
    })
  })
}
