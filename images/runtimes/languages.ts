/** The languages of runtimes: each is a folder and a line here. */
import { fileIn, folderOf, type RuntimeFile } from "./files.ts"
import { JAVA } from "./java/java.ts"
import type { LanguageRuntime } from "./language.ts"
import { NODEJS } from "./nodejs/nodejs.ts"
import { PROVIDED } from "./provided/provided.ts"
import { PYTHON } from "./python/python.ts"
import { RUBY } from "./ruby/ruby.ts"

const KNOWN = { nodejs: NODEJS, python: PYTHON, java: JAVA, ruby: RUBY, provided: PROVIDED }

export type Language = keyof typeof KNOWN

export const LANGUAGES: Readonly<Record<Language, LanguageRuntime>> = KNOWN

const read = async (language: Language): Promise<readonly RuntimeFile[]> => [
  await fileIn(folderOf(language), "bootstrap", 0o755),
  ...(await LANGUAGES[language].files()),
]

/** Read and compiled once. */
const known = new Map<Language, Promise<readonly RuntimeFile[]>>()

/** The files of a language's `/var/runtime`; `bootstrap` is what is started. */
export const runtimeFiles = (language: Language): Promise<readonly RuntimeFile[]> => {
  const files = known.get(language) ?? read(language)
  known.set(language, files)
  return files
}
