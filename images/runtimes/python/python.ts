/** Functions of Python. */
import { filesIn } from "../files.ts"
import type { LanguageRuntime } from "../language.ts"

export const PYTHON: LanguageRuntime = {
  files: () => filesIn(new URL(".", import.meta.url), ".py"),
  trainings: ["function.handler"],
  isMadeForSnapshots: true,
  variablesOf: () => ({ PYTHONPATH: "/var/runtime" }),
}
