/** Functions of Ruby. */
import { rm } from "node:fs/promises"
import { join } from "node:path"
import { copyFrom, type Finishing } from "../debian.ts"
import { filesIn } from "../files.ts"
import type { LanguageRuntime } from "../language.ts"

const PROGRAM = "usr/bin/ruby3.3"
/** From it Ruby tells where all the rest is. */
const COMPILED = "usr/lib/x86_64-linux-gnu/ruby"
/** Debian's own, which has RubyGems look for gems where the root disk has none. */
const DEBIAN_GEMS = "lib/ruby/vendor_ruby/rubygems/defaults/operating_system.rb"

/** What the disk has beside Ruby's library: its program, and what that loads. */
const finishing: Finishing = {
  sources: () => Promise.resolve([new URL(import.meta.url)]),
  async finish({ tree, lang }, signal) {
    await copyFrom(tree, PROGRAM, join(lang, "bin/ruby"), signal)
    await copyFrom(tree, COMPILED, join(lang, "lib/x86_64-linux-gnu/ruby"), signal)
    await rm(join(lang, DEBIAN_GEMS))
  },
}

export const RUBY: LanguageRuntime = {
  files: () => filesIn(new URL(".", import.meta.url), ".rb"),
  finishing,
  trainings: ["function.Trained.handler"],
  isMadeForSnapshots: true,
  variablesOf: () => ({
    GEM_PATH: "/var/task/vendor/bundle/ruby/3.3.0:/opt/ruby/gems/3.3.0",
    RUBYLIB: "/var/task:/opt/ruby/lib",
  }),
}
