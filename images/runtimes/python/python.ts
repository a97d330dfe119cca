/** Functions of Python. */
import { filesIn } from "../files.ts"
import type { LanguageRuntime } from "../language.ts"
import { PYTHON_DISK } from "./python-disk.ts"

export const PYTHON: LanguageRuntime = {
  files: () => filesIn(new URL(".", import.meta.url), ".py"),
  finishing: PYTHON_DISK,
  trainings: ["function.handler"],
  isMadeForSnapshots: true,
  variablesOf: () => ({ PYTHONPATH: "/var/runtime" }),
}
