import { BaseSequencer, type TestSpecification } from "vitest/node"
import { defineConfig } from "vitest/config"

/** What takes minutes, the longest first: begun late, one of them would go on alone at the end. Then all that is not named. */
const LONG = [
  "life/dockerfiles",
  "life/recovery",
  "life/build",
  "life/microvm",
  "life/stages",
  "life/neighbours",
  "life/functions/functions",
  "life/agent",
  "life/bases",
  "life/",
  "environments/",
  "vmm/vmm",
  "suspends/suspends",
  "net/",
]

/** Rooms whose tests start nothing that outlives a test, and no machine: their files share a process, and load what they have in common once. */
const TOGETHER = [
  "test/{agent,api,images,proxy,store,tokens}/**/*.test.ts",
  "test/net/{address,dns-message,name-server,resolver,resolver-hostile}.test.ts",
  "test/registry/{blobs,image-config,manifest,reference}.test.ts",
  "test/machines/**/!(killed).test.ts",
  "test/db/{answering,audit,identity}.test.ts",
  "test/{environments/environment-rows,logs/*,vmm/delta-format,vmm/manifest,vmm/qmp}.test.ts",
  "test/{config,data-directory,given-certificate,secrets}.test.ts",
]

/** What takes seconds fills the gaps at the end: first each file with a process of its own, then those that share one. */
class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    // oxlint-disable-next-line unicorn/no-array-sort -- vitest's own, of no array
    const sorted = await super.sort(files)
    const rank = ({ moduleId, project }: TestSpecification) => {
      const place = LONG.findIndex((name) => moduleId.includes(`/test/${name}`))
      return project.config.isolate ? (place < 0 ? LONG.length : place) : LONG.length + 1
    }
    return sorted.toSorted((one, other) => rank(one) - rank(other))
  }
}

export default defineConfig({
  test: {
    pool: "forks",
    // Real virtual machines on two cores: a third has work for them while others wait for an alarm or a limit; more only make each slower.
    maxWorkers: 3,
    sequence: { sequencer: LongFirst },
    // For tests that hang: a machine may be many times slower than another, and a slow one has failed nothing.
    testTimeout: 600_000,
    hookTimeout: 600_000,
    expect: { poll: { timeout: 60_000, interval: 100 } },
    projects: [
      {
        extends: true,
        test: {
          name: "alone",
          include: ["test/**/*.test.ts"],
          exclude: TOGETHER,
          setupFiles: "test/fixtures/tell-warnings.ts",
        },
      },
      { extends: true, test: { name: "together", include: TOGETHER, isolate: false } },
    ],
  },
})
