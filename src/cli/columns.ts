/** Rows as lines, their cells below each other: the first column to the left, the others to the right unless `isText` says so. */
export const toColumns = (
  rows: readonly (readonly string[])[],
  isText: (column: number) => boolean = (column) => column === 0,
): string[] => {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows.map((row) =>
    row
      .map((cell, column) => (isText(column) ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join("  ")
      .trimEnd(),
  )
}
