/**
 * Puts the program together in one piece, of the sources and of all that they import, in a directory of its own below
 * `node_modules/.cache/torpor`; then `current` leads to it. `begun` is older than anything that was read, so that what changes while it
 * is read is noticed at the next start (see `current` beside this).
 */
import { randomUUID } from "node:crypto"
import { mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from "node:fs/promises"
import { join, relative, sep } from "node:path"
import { fileURLToPath } from "node:url"
import { build, type Loader, type Plugin } from "esbuild"
import { runCommand } from "../command.ts"
import { lock } from "../file-lock.ts"

const ROOT = fileURLToPath(new URL("../../", import.meta.url))
const PROGRAMS = join(ROOT, "node_modules/.cache/torpor")
/** With the current one. What runs from an older one may have more of it to load. */
const KEPT = 4
const PATIENCE_MS = 120_000

/** A map that leads nowhere: of packages it would take ten times the memory of our own. */
const NO_MAP = `\n//# sourceMappingURL=data:application/json;base64,${Buffer.from('{"version":3,"sources":[""],"mappings":"AAAA"}').toString("base64")}`

/** Sources find what lies beside them, wherever they are put together. */
const inPlace = (directory: string): Plugin => ({
  name: "in-place",
  setup({ onLoad }) {
    onLoad({ filter: /\.[cm]?[jt]s$/ }, async ({ path }) => {
      const contents = await readFile(path, "utf8")
      if (path.includes(`${sep}node_modules${sep}`)) return { contents: contents + NO_MAP, loader: "js" as Loader }
      // What it mends takes no time here.
      if (path === join(ROOT, "src/resolve-drizzle.ts")) return { contents: "" }
      const url = `new URL(${JSON.stringify(relative(directory, path))}, import.meta.url).href`
      return { contents: contents.replaceAll("import.meta.url", url), loader: "ts" as Loader }
    })
  },
})

const makeProgram = async (directory: string) => {
  await mkdir(directory)
  await writeFile(join(directory, "begun"), "")
  await build({
    absWorkingDir: ROOT,
    entryPoints: ["src/main.ts"],
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
    // It brings a program that lies beside it.
    external: ["esbuild"],
    // CommonJS among what is imported asks for Node's own modules by it.
    banner: { js: 'import{createRequire as requireOf}from"node:module";const require=requireOf(import.meta.url);' },
    logLevel: "error",
    plugins: [inPlace(directory)],
  })
}

/** By its name in one step: it is all of one, or all of the other. */
const makeCurrent = async (directory: string) => {
  const link = join(PROGRAMS, "current")
  await rm(`${link}.new`, { force: true })
  await symlink(directory, `${link}.new`)
  await rename(`${link}.new`, link)
}

/** Those that are older, and what was not finished. */
const removeOthers = async () => {
  const programs = (await readdir(PROGRAMS, { withFileTypes: true })).filter((entry) => entry.isDirectory())
  const aged = await Promise.all(
    programs.map(async ({ name }) => ({
      path: join(PROGRAMS, name),
      madeAt: await stat(join(PROGRAMS, name, "main.mjs")).then(
        ({ mtimeMs }) => mtimeMs,
        () => 0,
      ),
    })),
  )
  const newest = aged.toSorted((a, b) => b.madeAt - a.madeAt)
  for (const [index, { path, madeAt }] of newest.entries())
    if (index >= KEPT || madeAt === 0) await rm(path, { recursive: true, force: true })
}

await mkdir(PROGRAMS, { recursive: true })
const signal = AbortSignal.timeout(PATIENCE_MS)
await using _ = await lock(join(PROGRAMS, "lock"), signal)
if ((await runCommand(join(ROOT, "src/program/current"), [], { signal })) === "") {
  const directory = join(PROGRAMS, randomUUID())
  await makeProgram(directory)
  await makeCurrent(directory)
  await removeOthers()
}
