/** A function as its environment has it: its code, a language's runtime from the image, and a Runtime API. */
import { chmod, mkdir, writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { runtimeFiles, type Language } from "../../../images/runtimes/languages.ts"
import { openApi, openFiles, startProgram } from "./program.ts"
import type { RuntimeApiOptions } from "../../../images/agent/functions/runtime-api.ts"

export interface FunctionOptions {
  readonly language: Language
  readonly handler: string
  readonly code: Readonly<Record<string, string>>
  readonly env?: Readonly<Record<string, string>>
  readonly api?: Partial<RuntimeApiOptions>
}

/** A language's `/var/runtime`; disposing it removes it. */
export const openRuntime = async (language: Language) => {
  const runtime = await openFiles({})
  for (const { name, content, mode } of await runtimeFiles(language)) {
    await mkdir(dirname(join(runtime.path, name)), { recursive: true })
    await writeFile(join(runtime.path, name), content)
    await chmod(join(runtime.path, name), mode)
  }
  return runtime
}

/** What a function finds in its environment, wherever it is. */
export const FUNCTION_ENV = {
  AWS_LAMBDA_FUNCTION_NAME: "greet",
  AWS_LAMBDA_FUNCTION_VERSION: "3",
  AWS_LAMBDA_FUNCTION_MEMORY_SIZE: "256",
  AWS_LAMBDA_LOG_GROUP_NAME: "/aws/lambda/greet",
  AWS_LAMBDA_LOG_STREAM_NAME: "2026/01/31/[3]00",
  AWS_LAMBDA_INITIALIZATION_TYPE: "on-demand",
  PYTHONDONTWRITEBYTECODE: "1",
}

/** Starts it; disposing it ends its process. */
export const startFunction = async ({ language, handler, code, env = {}, api: options = {} }: FunctionOptions) => {
  await using stack = new AsyncDisposableStack()
  const task = stack.use(await openFiles({ "package.json": "{}", ...code }))
  const runtime = stack.use(await openRuntime(language))
  const api = stack.use(await openApi(options))
  const program = stack.use(
    startProgram(api, [join(runtime.path, "bootstrap")], {
      _HANDLER: handler,
      LAMBDA_TASK_ROOT: task.path,
      LAMBDA_RUNTIME_DIR: runtime.path,
      ...FUNCTION_ENV,
      ...env,
    }),
  )
  const all = stack.move()
  return { api, program, path: task.path, [Symbol.asyncDispose]: () => all.disposeAsync() }
}
