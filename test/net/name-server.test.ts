import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, test } from "vitest"
import { hostNameServers, parseNameServer } from "../../src/net/name-server.ts"

test.for<[text: string, address: string, port: number]>([
  ["192.0.2.53", "192.0.2.53", 53],
  ["192.0.2.53:5353", "192.0.2.53", 5353],
  ["2001:db8::53", "2001:db8::53", 53],
  ["[2001:db8::53]:5353", "2001:db8::53", 5353],
  ["fe80::1%eth0", "fe80::1%eth0", 53],
])("A name server may be written %s", ([text, address, port]) => {
  expect(parseNameServer(text)).toEqual({ address, port })
})

test.for([
  "",
  "dns.example.org",
  "192.0.2.53:",
  "192.0.2.53:0",
  "192.0.2.53:65536",
  "[192.0.2.53]:53",
  "[2001:db8::53]",
  "192.0.2:53",
  ":53",
])("%j is no name server", (text) => {
  expect(() => parseNameServer(text)).toThrow(`'${text}' is no name server (address, address:port or [address]:port).`)
})

test("The host's name servers are those of its resolv.conf that are addresses; without the file there are none", async () => {
  const directory = await mkdtemp(join(tmpdir(), "torpor-resolv-"))
  const path = join(directory, "resolv.conf")
  expect(await hostNameServers(path)).toEqual([])
  await writeFile(
    path,
    "# nameserver 192.0.2.1\nsearch example.org\nnameserver 192.0.2.2\nnameserver  2001:db8::53 # ours\nnameserver dns.example.org\n",
  )
  expect(await hostNameServers(path)).toEqual([
    { address: "192.0.2.2", port: 53 },
    { address: "2001:db8::53", port: 53 },
  ])
  await rm(directory, { recursive: true })
})
