/** Functions that bring a runtime of their own. */
import type { LanguageRuntime } from "../language.ts"

export const PROVIDED: LanguageRuntime = {
  files: () => Promise.resolve([]),
  trainings: [],
  isMadeForSnapshots: false,
}
