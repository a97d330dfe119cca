import type { PostgresJsDatabase } from "drizzle-orm/postgres-js"
import { openDatabase } from "../../src/db/open.ts"
import { makeTestCluster } from "./cluster.ts"
import { putEmptyCluster } from "./empty-cluster.ts"

export interface TestDatabase extends AsyncDisposable {
  readonly db: PostgresJsDatabase
  readonly hostId: string
}

/** A private Postgres with every table, empty; gone when disposed. */
export const openTestDatabase = async (): Promise<TestDatabase> => {
  await using opened = new AsyncDisposableStack()
  const { dataDirectory, hostId } = opened.use(await makeTestCluster())
  await putEmptyCluster(dataDirectory)
  const { db } = opened.use(await openDatabase({ dataDirectory, hostId }, new AbortController().signal))
  const held = opened.move()
  return { db, hostId, [Symbol.asyncDispose]: () => held.disposeAsync() }
}
