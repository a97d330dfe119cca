import type { TestDaemon } from "../test/fixtures/daemon.ts"
import type { Samples } from "./samples.ts"

/** A claim about the medians of one run: the first divided by the second, or without a second the first itself, is in bounds. */
export type Claim = { readonly of: string; readonly by?: string } & (
  | { readonly most: number }
  | { readonly least: number }
)

export interface BenchInput {
  /** Has built the image `bench`, the sample application. */
  readonly daemon: TestDaemon
  readonly rounds: number
  readonly progress: (line: string) => void
  /** Whatever a bench opens: closed at the end, and when it is interrupted. */
  readonly opened: AsyncDisposableStack
}

/** One bench: what it measures side by side, and what is claimed about it. */
export interface Bench {
  readonly summary: string
  readonly claims: readonly Claim[]
  /** What a reader of its numbers should know: what is compared, what was tried. */
  readonly notes?: readonly string[]
  run(input: BenchInput): Promise<Samples>
}
