/** What an image's author waits for, and what a base weighs. */
import { execFileSync } from "node:child_process"
import { randomUUID } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { TerminateMicrovmCommand } from "@aws-sdk/client-lambda-microvms"
import { sampleFiles } from "../src/cli/sample.ts"
import { arnOf, type TestDaemon } from "../test/fixtures/daemon.ts"
import { firstBuildOf } from "../test/fixtures/image-builds.ts"
import type { Bench } from "./bench.ts"
import { buildApps } from "./build-apps.ts"
import { openColdBoots } from "./cold-boot.ts"
import { timed } from "./samples.ts"

const ROUNDS = 3
const LAUNCHES = 10
const MEMORY_MIB = 512
/** A step as people have them, that needs no network: a program of four hundred functions is compiled, and packed. */
const STEP = "gcc -O1 -c program.c -o program.o && tar -cJf program.tar.xz program.c program.o"
const PROGRAM = Array.from(
  { length: 400 },
  (_, index) => `int f${index}(int x) { for (int i = 0; i < x; i++) x ^= i * ${index}; return x; }`,
).join("\n")

export const builds: Bench = {
  summary: "a first build, an unchanged one, one whose last file changed; what three applications' bases weigh",
  claims: [
    { of: "build again, unchanged", by: "build", most: 1 / 5 },
    { of: "build again, last COPY changed", by: "build", most: 1 / 3 },
    { of: "build of one RUN", by: "30 × that RUN on the host + a cold boot", most: 1 },
    ...Object.keys(buildApps).map((name) => ({ of: `${name}: base above used memory`, most: 32 })),
  ],
  async run({ daemon, progress, opened }) {
    const boots = opened.use(await openColdBoots(daemon, 1))
    const found: Record<string, { unit: "ms" | "MiB"; values: number[] }> = {}
    const add = (name: string, unit: "ms" | "MiB", value: number) => {
      const samples = (found[name] ??= { unit, values: [] })
      samples.values.push(value)
      progress(`builds: ${name} ${value.toFixed(0)} ${unit}`)
    }
    for (let round = 0; round < ROUNDS; round++) {
      const [first, again, changed, one] = ["first", "again", "changed", "one"].map((name) => `${name}-${round}`) as [
        string,
        string,
        string,
        string,
      ]
      const files = { ...sampleFiles, "program.c": PROGRAM, Dockerfile: severalSteps(randomUUID()) }
      add("build", "ms", await timed(() => daemon.build(first, files)))
      add("build again, unchanged", "ms", await timed(() => daemon.build(again, files)))
      const other = { ...files, "server.js": `${files["server.js"]}// changed\n` }
      add("build again, last COPY changed", "ms", await timed(() => daemon.build(changed, other)))
      const single = `FROM torpor/debian:13\nCOPY program.c server.js ./\nRUN : ${randomUUID()}; ${STEP}\nCMD ["node", "server.js"]\n`
      add("build of one RUN", "ms", await timed(() => daemon.build(one, { ...files, Dockerfile: single })))
      add("30 × that RUN on the host + a cold boot", "ms", 30 * (await onHost()) + (await boots.boot()))
    }
    for (const [name, files] of Object.entries(buildApps)) await weigh(daemon, name, files, add)
    return found
  },
}

const severalSteps = (nonce: string) => `FROM torpor/debian:13
WORKDIR /app
COPY program.c .
RUN : ${nonce}; for i in 1 2 3; do ${STEP} || exit 1; done
RUN python3 -m venv --without-pip venv
COPY server.js .
CMD ["node", "server.js"]
`

/** The same command in a directory of this machine. */
const onHost = async (): Promise<number> => {
  const directory = mkdtempSync(join(tmpdir(), "torpor-bench-step-"))
  try {
    writeFileSync(join(directory, "program.c"), PROGRAM)
    return await timed(async () => void execFileSync("sh", ["-c", STEP], { cwd: directory }))
  } finally {
    rmSync(directory, { recursive: true })
  }
}

const weigh = async (
  daemon: TestDaemon,
  name: string,
  files: Readonly<Record<string, string>>,
  add: (name: string, unit: "ms" | "MiB", value: number) => void,
) => {
  const image = name.toLowerCase().replaceAll(" ", "-")
  await daemon.build(image, files)
  const { memory, disk } = await sizesOf(daemon, image)
  add(`${name}: base memory`, "MiB", memory)
  add(`${name}: base disk`, "MiB", disk)
  let used = Number.NaN
  for (let launch = 0; launch < LAUNCHES; launch++) {
    let end = async () => {}
    add(
      `${name}: launch to first answer`,
      "ms",
      await timed(async () => {
        const vm = await daemon.run({ image })
        end = async () => {
          vm.close()
          await daemon.client.send(new TerminateMicrovmCommand({ microvmIdentifier: vm.id }))
        }
        const { status, body } = await vm.get("/")
        if (status !== 200) throw new Error(`The MicroVM answered ${status}: ${body}`)
        used = MEMORY_MIB - (JSON.parse(body) as { free: number }).free
      }),
    )
    await end()
  }
  add(`${name}: used memory`, "MiB", used)
  add(`${name}: base above used memory`, "MiB", memory - used)
}

const sizesOf = async (daemon: TestDaemon, image: string) => {
  const { snapshotBuild } = await firstBuildOf(daemon.client, arnOf(image))
  const toMiB = (bytes: number | undefined) => (bytes ?? Number.NaN) / 1024 ** 2
  return {
    memory: toMiB(snapshotBuild?.memorySnapshotSizeInBytes),
    disk: toMiB(snapshotBuild?.diskSnapshotSizeInBytes),
  }
}
