import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    pool: "forks",
    // Real virtual machines on two cores: a third has work for them while others wait for an alarm or a limit; more only make each slower.
    maxWorkers: 3,
    // For tests that hang: a machine may be many times slower than another, and a slow one has failed nothing.
    testTimeout: 600_000,
    hookTimeout: 600_000,
  },
})
