import { sql, type SQL } from "drizzle-orm"
import type { AnyPgColumn } from "drizzle-orm/pg-core"
import { validationError } from "../src/errors.ts"
import type { Page, PageRequest } from "./resources.ts"

/**
 * Pages of rows, newest first, by (time, id): stable while rows come and go.
 * The cursor is the last row's key; the API wraps it, so a client never sees or forges one that is looked at without a check.
 */
export const newestFirst = (
  time: AnyPgColumn,
  id: AnyPgColumn,
  after: string | undefined,
): { where: SQL | undefined; orderBy: SQL } => ({
  where: after === undefined ? undefined : sql`(${time}, ${id}) < ${parseCursor(after)}`,
  orderBy: sql`${time} desc, ${id} desc`,
})

const CURSOR = /^(\d{4}-\d\d-\d\dT[\d:.]{8,16}Z) ([0-9a-f-]{36})$/

const parseCursor = (cursor: string): SQL => {
  const [, time, id] = CURSOR.exec(cursor) ?? []
  if (time === undefined || id === undefined) throw validationError("The nextToken is not valid.")
  return sql`(${time}::timestamptz, ${id}::uuid)`
}

/** Cuts the one row too many that was asked for, and says where the next page begins. */
export const toPage = <Row, Item>(
  rows: Row[],
  page: PageRequest,
  keyOf: (row: Row) => { time: Date; id: string },
  toItem: (row: Row) => Item,
): Page<Item> => {
  const shown = rows.slice(0, page.limit)
  const last = shown.at(-1)
  const key = last === undefined ? undefined : keyOf(last)
  return {
    items: shown.map(toItem),
    next: rows.length > page.limit && key !== undefined ? `${key.time.toISOString()} ${key.id}` : undefined,
  }
}
