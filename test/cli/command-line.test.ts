import { readFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { describe, expect, test } from "vitest"
import { commands } from "../../src/cli/commands.ts"
import { PLAIN, runToEnd, torpor } from "./torpor.ts"

const ROOT = fileURLToPath(new URL("../../", import.meta.url))
// A setting that every command would refuse: whoever only asks never gets as far.
const UNREADABLE = { ...PLAIN, TORPOR_CONFIG: "/nowhere/torpor.json" }
const run = (...args: string[]) => runToEnd(torpor(...args), UNREADABLE)

describe("Help", () => {
  test.each([[[]], [["--help"]], [["-h"]], [["help"]], [["help", "--help"]], [["--version", "--help"]]])(
    "torpor %j lists every command",
    async (args) => {
      const { code, stdout, stderr } = await run(...args)
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
      for (const [name, { summary }] of Object.entries(commands))
        expect(stdout).toContain(`${name} `.padEnd(12) + summary)
    },
  )

  test.each(Object.entries(commands))(
    "%s says what it does, with its options and examples, and does nothing",
    async (name, { description, options, examples }) => {
      const { code, stdout, stderr } = await run(name, "--help")
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
      expect(stdout).toContain(`Usage: torpor ${name}`)
      expect(stdout).toContain(description.join("\n"))
      for (const option of Object.keys(options)) expect(stdout).toMatch(new RegExp(`^ +--${option}  `, "m"))
      for (const [typed, what] of Object.entries(examples))
        expect(stdout).toMatch(new RegExp(`^  ${typed} +${escape(what)}$`, "m"))
    },
  )

  test("It is the same before and after a command's name, and beside its other options", async () => {
    const [asked, before, beside] = await Promise.all([
      run("doctor", "--help"),
      run("help", "doctor"),
      run("doctor", "--json", "-h"),
    ])
    expect(before).toEqual(asked)
    expect(beside).toEqual(asked)
  })

  test("No line of it is wider than a terminal of 100 columns", async () => {
    for (const name of ["", ...Object.keys(commands)]) {
      const { stdout } = await run("help", ...(name === "" ? [] : [name]))
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
  [["down", "--toString"], "`torpor down` has no option '--toString': see `torpor down --help`."],
])("torpor %j is refused before anything happens", async (args, sentence) => {
  expect(await run(...args)).toEqual({ code: 2, stdout: "", stderr: `${sentence}\n` })
})

test("A file of settings that cannot be read is one sentence, and exit code 1", async () => {
  const { code, stdout, stderr } = await run("doctor")
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" })
  expect(stderr).toMatch(/^The file of TORPOR_CONFIG cannot be read: ENOENT.*\.\n$/)
})

test("npx finds it in the checkout and runs it under our own Node, whatever the machine's is", async () => {
  // What npx and its PATH were before npm started the tests.
  const { code, stdout, stderr } = await runToEnd(["npx", "--no-install", "torpor", "doctor", "--help"], PLAIN, ROOT)
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
  expect(stdout).toContain("Usage: torpor doctor [--json]")
})

const escape = (text: string) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")
