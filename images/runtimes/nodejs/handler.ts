/** From a handler's name to the function that it names. */
import { statSync } from "node:fs"
import { createRequire } from "node:module"
import { basename, join, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { RuntimeError } from "./failure.ts"
import { STREAMING } from "./streaming.ts"

export type Handler = ((...given: unknown[]) => unknown) & { [STREAMING]?: unknown }

/** Extensions in the order in which they are looked for. */
const EXTENSIONS = ["", ".js", ".mjs", ".cjs"]

/**
 * Imports the module that `dir/file.a.b` is in, and takes `a.b` of what it exports; one with another `instance` is imported again.
 * Throws with the kinds of errors that AWS has.
 */
export const loadHandler = async (root: string, name: string, instance = ""): Promise<Handler> => {
  if (name.includes(".."))
    throw new RuntimeError(
      "Runtime.MalformedHandlerName",
      `'${name}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`,
    )
  const last = basename(name)
  const [, moduleName, path] = /^([^.]*)\.(.*)$/.exec(last) ?? []
  if (moduleName === undefined || path === undefined)
    throw new RuntimeError("Runtime.MalformedHandlerName", "Bad handler")
  const found = await load(resolve(root, name.slice(0, name.length - last.length)), root, moduleName, instance)
  const handler = exportOf(found, path) ?? exportOf((found as { default?: unknown } | null)?.default, path)
  if (!handler) throw new RuntimeError("Runtime.HandlerNotFound", `${name} is undefined or not exported`)
  if (typeof handler !== "function") throw new RuntimeError("Runtime.HandlerNotFound", `${name} is not a function`)
  return handler as Handler
}

const load = async (directory: string, root: string, moduleName: string, instance: string): Promise<unknown> => {
  try {
    for (const extension of EXTENSIONS) {
      const file = join(directory, moduleName) + extension
      if (statSync(file, { throwIfNoEntry: false })?.isFile())
        return await import(`${pathToFileURL(file).href}${instance}`)
    }
    // A package, of the function's own or of a layer: NODE_PATH is looked in, too.
    const require = createRequire(import.meta.url)
    return require(require.resolve(moduleName, { paths: [root, directory] }))
  } catch (error) {
    if (error instanceof SyntaxError)
      throw Object.assign(new RuntimeError("Runtime.UserCodeSyntaxError", String(error)), { stack: error.stack })
    if ((error as NodeJS.ErrnoException | null)?.code === "MODULE_NOT_FOUND")
      throw new RuntimeError("Runtime.ImportModuleError", String(error))
    throw error
  }
}

const exportOf = (module: unknown, path: string): unknown =>
  path
    .split(".")
    .reduce<unknown>(
      (found, key) =>
        typeof found === "object" && found !== null ? (found as Record<string, unknown>)[key] : undefined,
      module,
    )
