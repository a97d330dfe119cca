import { describe, expect, test } from "vitest"
import { createAnswering } from "../../src/db/answering.ts"

type Database = Parameters<typeof createAnswering>[0]

/** A database whose every answer is of the test's making. */
const databaseOf = (execute: () => Promise<unknown>) => ({ execute }) as unknown as Database

describe("Whether the database answers", () => {
  test("is told as it is at that moment", async () => {
    let isThere = true
    const isAnswering = createAnswering(
      databaseOf(() => (isThere ? Promise.resolve() : Promise.reject(new Error("away")))),
    )
    expect(await isAnswering()).toBe(true)
    isThere = false
    expect(await isAnswering()).toBe(false)
    isThere = true
    expect(await isAnswering()).toBe(true)
  })

  test("is no when nothing comes in time, and many who ask cost one query", async () => {
    let queries = 0
    const isAnswering = createAnswering(
      databaseOf(() => {
        queries += 1
        return new Promise(() => {})
      }),
      10,
    )
    expect(await Promise.all([isAnswering(), isAnswering()])).toEqual([false, false])
    expect(await isAnswering()).toBe(false)
    expect(queries).toBe(1)
  })
})
