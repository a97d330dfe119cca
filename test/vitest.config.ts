import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    pool: "forks",
    // Real virtual machines on few cores: more at once only makes each slower.
    maxWorkers: 2,
    // For tests that hang: a machine may be many times slower than another, and a slow one has failed nothing.
    testTimeout: 600_000,
    hookTimeout: 600_000,
  },
})
