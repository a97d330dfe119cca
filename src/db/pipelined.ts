/**
 * Statements of one transaction that are on their way together, and done in their order. Settles when none is on its way any more: what
 * is sent after a transaction's end is outside of it. Rejects with the first that failed.
 */
export const pipelined = async <const Statements extends readonly unknown[]>(
  statements: Statements,
): Promise<{ -readonly [Index in keyof Statements]: Awaited<Statements[Index]> }> => {
  // A statement is sent whenever somebody begins to wait for it.
  const sent = statements.map((statement) => Promise.resolve(statement))
  await Promise.allSettled(sent)
  return (await Promise.all(sent)) as never
}
