/** Kinds of columns that every table writes alike. */
import { sql } from "drizzle-orm"
import { check, customType, timestamp, type AnyPgColumn } from "drizzle-orm/pg-core"

export const bytea = customType<{ data: Buffer }>({ dataType: () => "bytea" })

/** A moment, with its zone. */
export const at = (name: string) => timestamp(name, { withTimezone: true, mode: "date" })

/** A text that is one of these words. */
export const oneOf = (name: string, column: AnyPgColumn, values: readonly string[]) =>
  check(name, sql`${column} in (${sql.raw(values.map((value) => `'${value}'`).join(", "))})`)
