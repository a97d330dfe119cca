import { copyFile, mkdir, mkdtemp, readFile, realpath, rm, symlink } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, test } from "vitest"
import { commands } from "../../src/cli/commands.ts"
import { PLAIN, runToEnd, torpor, type Ended } from "./torpor.ts"

const ROOT = fileURLToPath(new URL("../../", import.meta.url))
// A setting that every command would refuse: whoever only asks never gets as far.
const UNREADABLE = { ...PLAIN, TORPOR_CONFIG: "/nowhere/torpor.json" }
const run = (...args: string[]) => runToEnd(torpor(...args), UNREADABLE)
const helps = new Map<string, Promise<Ended>>()
/** What a command says of itself, or `torpor` of them all; each is asked once. */
const helpOf = (name: string): Promise<Ended> => {
  const asked = helps.get(name) ?? run(...name.split(" ").filter(Boolean), "--help")
  helps.set(name, asked)
  return asked
}

describe("Help", () => {
  test.each([[[]], [["--help"]], [["-h"]], [["help"]], [["help", "--help"]], [["--version", "--help"]]])(
    "torpor %j lists every command",
    async (args) => {
      const { code, stdout, stderr } = await run(...args)
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
      for (const [name, { summary }] of Object.entries(commands))
        expect(stdout).toMatch(new RegExp(`^  ${name} +${escape(summary)}$`, "m"))
    },
  )

  test.each(Object.entries(commands))(
    "%s says what it does, with its options and examples, and does nothing",
    async (name, { description, options, examples }) => {
      const { code, stdout, stderr } = await helpOf(name)
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
      expect(stdout).toContain(`Usage: torpor ${name}`)
      expect(stdout).toContain(description.join("\n"))
      for (const [option, { value }] of Object.entries(options))
        expect(stdout).toMatch(new RegExp(`^ +(-., )?--${option}${value === undefined ? "" : ` ${value}`}  `, "m"))
      for (const [typed, what] of Object.entries(examples))
        expect(stdout).toMatch(new RegExp(`^  ${typed} +${escape(what)}$`, "m"))
    },
  )

  test("It is the same before and after a command's name, and beside its other options", async () => {
    const [asked, before, beside] = await Promise.all([
      helpOf("doctor"),
      run("help", "doctor"),
      run("doctor", "--json", "-h"),
    ])
    expect(before).toEqual(asked)
    expect(beside).toEqual(asked)
  })

  test("No line of it is wider than a terminal of 100 columns", async () => {
    for (const name of ["", ...Object.keys(commands)]) {
      const { stdout } = await helpOf(name)
      for (const line of stdout.split("\n")) expect(line.length, line).toBeLessThanOrEqual(100)
    }
  })
})

test("The version is package.json's", async () => {
  const { version } = JSON.parse(await readFile(`${ROOT}package.json`, "utf8")) as { version: string }
  expect(await run("--version")).toEqual({ code: 0, stdout: `torpor ${version}\n`, stderr: "" })
})

test.each([
  [["doctr"], "There is no command 'doctr': did you mean 'doctor'? See `torpor --help`."],
  [["setpu", "--help"], "There is no command 'setpu': did you mean 'setup'? See `torpor --help`."],
  [["quick"], "There is no command 'quick': did you mean 'quickstart'? See `torpor --help`."],
  [["help", "dwon"], "There is no command 'dwon': did you mean 'down'? See `torpor --help`."],
  [["terminate-everything"], "There is no command 'terminate-everything': see `torpor --help`."],
  [["constructor"], "There is no command 'constructor': see `torpor --help`."],
  [["--vrsion"], "`torpor` has no option '--vrsion': did you mean '--version'? See `torpor --help`."],
  [["-v"], "`torpor` has no option '-v': see `torpor --help`."],
  [["--version", "doctor"], "`torpor` takes no argument 'doctor': see `torpor --help`."],
  [["doctor", "--jsno"], "`torpor doctor` has no option '--jsno': did you mean '--json'? See `torpor doctor --help`."],
  [["doctor", "--json=yes"], "'--json' of `torpor doctor` takes no value: see `torpor doctor --help`."],
  [["doctor", "--json", "disk"], "`torpor doctor` takes no argument 'disk': see `torpor doctor --help`."],
  [["doctor", "--", "--json"], "`torpor doctor` takes no argument '--json': see `torpor doctor --help`."],
  [["serve", "--json"], "`torpor serve` has no option '--json': see `torpor serve --help`."],
  [["ls"], "There is no command 'ls': did you mean 'functions ls'? See `torpor --help`."],
  [["images"], "`torpor images` is not whole without 'ls' or 'rm' or 'df' or 'prune': see `torpor images --help`."],
  [
    ["images", "--json"],
    "`torpor images` is not whole without 'ls' or 'rm' or 'df' or 'prune': see `torpor images --help`.",
  ],
  [["images", "prnue"], "There is no command 'images prnue': did you mean 'prune'? See `torpor images --help`."],
  [["images", "df", "all"], "`torpor images df` takes no argument 'all': see `torpor images df --help`."],
  [["run"], "`torpor run` wants IMAGE: see `torpor run --help`."],
  [["run", "app", "--port"], "'--port' of `torpor run` wants a value, PORT: see `torpor run --help`."],
  [["run", "app", "-p", "1", "--port=2"], "'--port' of `torpor run` is there twice: see `torpor run --help`."],
  [["build", "a", "b"], "`torpor build` takes no argument 'b': see `torpor build --help`."],
  [["down", "--toString"], "`torpor down` has no option '--toString': see `torpor down --help`."],
])("torpor %j is refused before anything happens", async (args, sentence) => {
  expect(await run(...args)).toEqual({ code: 2, stdout: "", stderr: `${sentence}\n` })
})

test.each([
  [["run", "app", "--port", "http"], "--port wants a number from 1 to 65535, and 'http' is none."],
  [["open", "microvm-1", "-p", "0"], "--port wants a number from 1 to 65535, and '0' is none."],
  [["open", "microvm-1", "--minutes", "1h"], "--minutes wants a number from 1 to 60, and '1h' is none."],
  [["open", "microvm-1", "--minutes", "90"], "--minutes wants a number from 1 to 60, and '90' is none."],
  [["build", "-n", "app", "-m", "1G"], "--memory wants a number of MiB."],
])("torpor %j is refused before a daemon is looked for", async (args, sentence) => {
  expect(await runToEnd(torpor(...args), { ...PLAIN, TORPOR_DATA_DIR: "/nowhere" })).toEqual({
    code: 2,
    stdout: "",
    stderr: `${sentence}\n`,
  })
})

test("A file of settings that cannot be read is one sentence, and exit code 1", async () => {
  const { code, stdout, stderr } = await run("doctor")
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" })
  expect(stderr).toMatch(/^The file of TORPOR_CONFIG cannot be read: ENOENT.*\.\n$/)
})

test.each([
  ["/nowhere/at/all", "/nowhere/at/all is no directory: name the one that the Dockerfile is in."],
  [ROOT, `There is no Dockerfile in ${ROOT.slice(0, -1)}: name it with --file, or another directory.`],
])("What `torpor build %s` is to build is looked for before a daemon is", async (directory, sentence) => {
  const nobody = { ...PLAIN, TORPOR_DATA_DIR: "/nowhere" }
  expect(await runToEnd(torpor("build", directory, "--name", "app"), nobody)).toEqual({
    code: 1,
    stdout: "",
    stderr: `${sentence}\n`,
  })
})

test("npx finds it in the checkout and runs it under our own Node, whatever the machine's is", async () => {
  // What npx and its PATH were before npm started the tests.
  const { code, stdout, stderr } = await runToEnd(["npx", "--no-install", "torpor", "doctor", "--help"], PLAIN, ROOT)
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
  expect(stdout).toContain("Usage: torpor doctor [--json]")
})

describe("The launcher", () => {
  const LAUNCHER = `${ROOT}src/cli/torpor`

  test("starts it by any name and from any directory, under our own Node", async () => {
    const directory = await mkdtemp(join(tmpdir(), "torpor-launcher-"))
    try {
      await symlink(LAUNCHER, join(directory, "torpor"))
      for (const command of [LAUNCHER, join(directory, "torpor"), "./torpor"])
        expect(await runToEnd([command, "--version"], PLAIN, directory), command).toMatchObject({ code: 0, stderr: "" })
      const found = { ...PLAIN, PATH: `${directory}:${PLAIN.PATH}` }
      expect(await runToEnd(["torpor", "no such command"], found, "/")).toMatchObject({
        code: 2,
        stderr: "There is no command 'no such command': see `torpor --help`.\n",
      })
    } finally {
      await rm(directory, { recursive: true })
    }
  })

  test("says what is missing before the dependencies are there", async () => {
    const directory = await realpath(await mkdtemp(join(tmpdir(), "torpor-launcher-")))
    try {
      await mkdir(join(directory, "src/cli"), { recursive: true })
      await copyFile(LAUNCHER, join(directory, "src/cli/torpor"))
      expect(await runToEnd([join(directory, "src/cli/torpor"), "doctor"], PLAIN)).toEqual({
        code: 1,
        stdout: "",
        stderr: `Torpor's dependencies are not installed: run \`npm ci\` in ${directory}.\n`,
      })
    } finally {
      await rm(directory, { recursive: true })
    }
  })
})

test("Dependencies that cannot be fetched are no silence", async () => {
  const directory = await mkdtemp(join(tmpdir(), "torpor-deps-"))
  try {
    for (const name of ["package.json", "package-lock.json"]) await copyFile(join(ROOT, name), join(directory, name))
    const offline = { ...PLAIN, npm_config_registry: "http://127.0.0.1:9/", npm_config_fetch_retries: "0" }
    const cache = { npm_config_cache: join(directory, "cache") }
    const { code, stdout, stderr } = await runToEnd(["npm", "run", "quickstart"], { ...offline, ...cache }, directory)
    expect(code).not.toBe(0)
    expect(stderr).toMatch(/ECONNREFUSED/)
    expect(stdout).not.toContain("Starting a daemon")
  } finally {
    await rm(directory, { recursive: true })
  }
})

const escape = (text: string) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")
