import { readFileSync } from "node:fs"
import { SourceMap } from "node:module"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"

/** As V8 gives it. */
interface CallSite extends NodeJS.CallSite {
  toString(): string
}

/**
 * Has errors name the lines of the sources, wherever a map beside a file of the program says which they are. A map is read when the
 * first error asks for it: Node's own `--enable-source-maps` reads them all at the start.
 */
export const nameSources = (program: string): void => {
  const own = pathToFileURL(join(program, "/")).href
  const maps = new Map<string, SourceMap | undefined>()
  const mapOf = (url: string): SourceMap | undefined => {
    if (!maps.has(url)) maps.set(url, readMap(`${fileURLToPath(url)}.map`))
    return maps.get(url)
  }
  const toLine = (site: CallSite): string => {
    const url = site.getScriptNameOrSourceURL()
    const [line, column] = [site.getLineNumber(), site.getColumnNumber()]
    if (url === null || line === null || column === null || !url.startsWith(own)) return site.toString()
    const origin = mapOf(url)?.findOrigin(line, column)
    if (origin === undefined || !("fileName" in origin)) return site.toString()
    const source = fileURLToPath(new URL(origin.fileName, url))
    return site.toString().replace(`${url}:${line}:${column}`, `${source}:${origin.lineNumber}:${origin.columnNumber}`)
  }
  Error.prepareStackTrace = (error, sites) =>
    [String(error), ...sites.map((site) => `    at ${toLine(site)}`)].join("\n")
}

/** None, as of packages, is no reason to lose the error. */
const readMap = (path: string): SourceMap | undefined => {
  try {
    return new SourceMap(JSON.parse(readFileSync(path, "utf8")) as ConstructorParameters<typeof SourceMap>[0])
  } catch {
    return undefined
  }
}
