/**
 * Puts the program together in one piece, of the sources and of all that they import, in a directory of its own below
 * `node_modules/.cache/torpor`; then `current` leads to it. Beside its files are the agent that its system disk holds, the list of its
 * `sources`, and `begun`, which is older than anything that was read: what changes while it is read is noticed at the next start.
 */
import { randomUUID } from "node:crypto"
import { mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from "node:fs/promises"
import { createRequire, isBuiltin } from "node:module"
import { join, relative, sep } from "node:path"
import { fileURLToPath } from "node:url"
import { build, type Loader, type Plugin } from "esbuild"
import { bundleAgent } from "../../images/system/agent-bundle.ts"
import { lock } from "../file-lock.ts"
import { isCurrent, PROGRAMS } from "./current.ts"

const ROOT = fileURLToPath(new URL("../../", import.meta.url))
const DIRECTORY = join(ROOT, PROGRAMS)
const CURRENT = join(DIRECTORY, "current")
/** With the current one. What runs from an older one may have more of it to load. */
const KEPT = 4
const PATIENCE_MS = 120_000
const AGENT = "agent.mjs"
const requireBuiltIn = createRequire(import.meta.url) as (path: string) => object
/** What packages are is said there. */
const INSTALLED = ["package.json", "node_modules/.package-lock.json"]

/** A map that leads nowhere: of packages it would take ten times the room of our own. */
const NO_MAP = `\n//# sourceMappingURL=data:application/json;base64,${Buffer.from('{"version":3,"sources":[""],"mappings":"AAAA"}').toString("base64")}`

/** In every file of the program: what CommonJS among what is imported asks for Node's own modules by, and where the file is. */
const BANNER =
  'import{createRequire as requireOf}from"node:module";const programUrl=import.meta.url,require=requireOf(programUrl);'

/** Modules that are others here. */
const REPLACED: Readonly<Record<string, string>> = {
  // What it mends takes no time here.
  [join(ROOT, "src/resolve-drizzle.ts")]: "",
  [join(ROOT, "images/system/agent-bundle.ts")]: `
    import { readFile } from "node:fs/promises"
    export const bundleAgent = async () => ({ content: await readFile(new URL(${JSON.stringify(AGENT)}, programUrl)), sources: [] })`,
  // Of metrics none is pushed, had from another process, or tied to a trace.
  ...Object.fromEntries(
    ["prom-client/lib/pushgateway.js", "prom-client/lib/cluster.js", "@opentelemetry/api/dist/index.cjs"].map(
      (path) => [join(ROOT, "node_modules", path), ""],
    ),
  ),
  // Of what zod says in forty languages, nothing is ever said in another.
  [join(ROOT, "node_modules/zod/v4/locales/index.js")]: 'export { default as en } from "./en.js"',
}

/** Sources find what lies beside them, wherever they are put together: `import.meta.url` is `sourceUrl` in all of them. */
const inPlace = (directory: string): Plugin => ({
  name: "in-place",
  setup({ onLoad }) {
    onLoad({ filter: /\.[cm]?[jt]s$/ }, async ({ path }) => {
      const replaced = REPLACED[path]
      if (replaced !== undefined) return { contents: replaced, loader: "js" as Loader }
      const text = await readFile(path, "utf8")
      // On its first line: the map counts lines.
      const contents = text.includes("import.meta.url")
        ? `const sourceUrl = new URL(${JSON.stringify(relative(directory, path))}, programUrl).href;${text}`
        : text
      return path.includes(`${sep}node_modules${sep}`)
        ? { contents: contents + NO_MAP, loader: "js" as Loader }
        : { contents, loader: "ts" as Loader }
    })
  },
})

/**
 * Node's own modules, of which only what is used is asked for: some of what `node:http` exports is a second client, loaded for whoever
 * looks at it, as an `import` does at all of it.
 */
const builtIns: Plugin = {
  name: "built-ins",
  setup({ onResolve, onLoad }) {
    const namespace = "built-in"
    onResolve({ filter: /./ }, ({ path, kind }) =>
      kind === "import-statement" && isBuiltin(path) ? { path, namespace } : undefined,
    )
    onLoad({ filter: /./, namespace }, ({ path }) => {
      const names = Object.keys(requireBuiltIn(path)).filter(
        (name) => /^[A-Za-z_$][\w$]*$/.test(name) && name !== "default",
      )
      const get = `const all = process.getBuiltinModule(${JSON.stringify(path)}), get = (name) => all[name];`
      const each = names.map((name, index) => `const n${index} = /* @__PURE__ */ get(${JSON.stringify(name)});`)
      const exported = names.map((name, index) => `n${index} as ${name}`)
      return { contents: [get, ...each, `export { all as default, ${exported.join(", ")} }`].join("\n") }
    })
  },
}

const makeProgram = async (directory: string) => {
  await mkdir(directory)
  await writeFile(join(directory, "begun"), "")
  const [agent, { metafile }] = await Promise.all([
    bundleAgent(),
    build({
      absWorkingDir: ROOT,
      entryPoints: { main: "src/main.ts", start: "src/program/start.ts" },
      outdir: directory,
      // Below node_modules no package.json says what they are, and Node would read each to find out.
      outExtension: { ".js": ".mjs" },
      bundle: true,
      splitting: true,
      format: "esm",
      platform: "node",
      target: "node24",
      sourcemap: true,
      sourcesContent: false,
      minifyWhitespace: true,
      metafile: true,
      // It brings a program that lies beside it.
      external: ["esbuild"],
      define: { "import.meta.url": "sourceUrl" },
      banner: { js: BANNER },
      logLevel: "error",
      plugins: [builtIns, inPlace(directory)],
    }),
  ])
  await writeFile(join(directory, AGENT), agent.content)
  const inputs = [...agent.sources.map((path) => relative(ROOT, path)), ...Object.keys(metafile.inputs)]
  const own = inputs.filter((path) => !path.startsWith("node_modules/") && !path.startsWith("built-in:"))
  await writeFile(join(directory, "sources"), [...new Set([...own, ...INSTALLED])].join("\n"))
}

/** By its name in one step: it is all of one, or all of the other. */
const makeCurrent = async (name: string) => {
  await rm(`${CURRENT}.new`, { force: true })
  await symlink(name, `${CURRENT}.new`)
  await rename(`${CURRENT}.new`, CURRENT)
}

/** Those that are older, and what was not finished. */
const removeOthers = async () => {
  const programs = (await readdir(DIRECTORY, { withFileTypes: true })).filter((entry) => entry.isDirectory())
  const aged = await Promise.all(
    programs.map(async ({ name }) => ({
      path: join(DIRECTORY, name),
      madeAt: await stat(join(DIRECTORY, name, "sources")).then(
        ({ mtimeMs }) => mtimeMs,
        () => 0,
      ),
    })),
  )
  const newest = aged.toSorted((a, b) => b.madeAt - a.madeAt)
  for (const [index, { path, madeAt }] of newest.entries())
    if (index >= KEPT || madeAt === 0) await rm(path, { recursive: true, force: true })
}

await mkdir(DIRECTORY, { recursive: true })
await using _ = await lock(join(DIRECTORY, "lock"), AbortSignal.timeout(PATIENCE_MS))
if (!isCurrent(ROOT, CURRENT)) {
  const name = randomUUID()
  await makeProgram(join(DIRECTORY, name))
  await makeCurrent(name)
  await removeOthers()
}
