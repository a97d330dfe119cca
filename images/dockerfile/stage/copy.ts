/** COPY and ADD. Source: https://docs.docker.com/reference/dockerfile/#copy */
import { fail } from "../error.ts"
import { parseFileMode } from "../../file-mode.ts"
import type { CopyStep, Source } from "../step.ts"
import { toExecForm } from "../text/exec-form.ts"
import { readFlags, type FlagKind, type Flags } from "../text/flags.ts"
import type { Instruction } from "../text/instructions.ts"
import { absolutePath } from "../arguments/values.ts"
import type { Handlers, StageBuild } from "./stage-build.ts"
import { inlineOf } from "../arguments/inline.ts"
import { isGit, isUrl, shownSource, toRemoteFile } from "../arguments/remote.ts"

const FLAGS = { chown: "text", chmod: "text", link: "switch", exclude: "list" } as const
const COPY_FLAGS = { ...FLAGS, from: "text", parents: "switch" } as const
const ADD_FLAGS = { ...FLAGS, checksum: "text", "keep-git-dir": "switch", unpack: "switch" } as const

const MAX_SOURCES = 1000
const MAX_PATTERN_CHARACTERS = 4096

export const COPY: Handlers = {
  async COPY(instruction, stage) {
    const { line } = instruction
    const { flags, places, ...rest } = read(instruction, COPY_FLAGS, stage)
    const url = places.find((place) => isUrl(place) || isGit(place))
    if (url !== undefined) fail(line, `source can't be a URL for COPY: ${shownSource(url)}`)
    const reference = flags.text("from")
    const from: Source = reference === null ? { kind: "context" } : await stage.sourceOf(reference, line)
    stage.add(instruction, {
      ...rest,
      from,
      sources: places,
      remote: [],
      parents: flags.isOn("parents"),
      unpacked: "none",
    })
  },

  ADD(instruction, stage) {
    const { line } = instruction
    const { flags, places, ...rest } = read(instruction, ADD_FLAGS, stage)
    const repository = places.find(isGit)
    if (repository !== undefined)
      fail(line, `ADD of a git repository is not supported: clone '${shownSource(repository)}' in a RUN`)
    if (flags.isOn("keep-git-dir"))
      fail(line, "ADD --keep-git-dir is for git repositories, which ADD doesn't take here")
    const urls = places.filter(isUrl)
    const written = flags.text("checksum")
    const checksum = written === null ? null : expanded(written, instruction, stage)
    if (checksum !== null && places.length + rest.inline.length !== 1)
      fail(line, "checksum can't be specified for multiple sources")
    if (checksum !== null && urls.length === 0) fail(line, "checksum requires HTTP(S) sources")
    stage.add(instruction, {
      ...rest,
      from: { kind: "context" },
      sources: places.filter((place) => !isUrl(place)),
      remote: urls.map((url) => toRemoteFile(url, checksum, line)),
      parents: false,
      // Docker leaves what it downloads as it is, unless it is told otherwise.
      unpacked: flags.text("unpack") === null ? "local" : flags.isOn("unpack") ? "all" : "none",
    })
  },
}

type Common = Pick<CopyStep, "kind" | "inline" | "destination" | "owner" | "mode" | "link" | "excluded">

/** What both have: flags, sources and a destination. */
const read = (
  instruction: Instruction,
  kinds: Readonly<Record<string, FlagKind>>,
  stage: StageBuild,
): Common & { flags: Flags; places: string[] } => {
  const { rest, line, keyword, heredocs } = instruction
  const { state, lexer } = stage
  const flags = readFlags(instruction.flags, kinds, line)
  const exec = toExecForm(rest, line)
  const { files: inline, words } =
    heredocs.length > 0
      ? inlineOf(instruction, state.variables(), lexer)
      : {
          files: [],
          words:
            exec?.map((word) => lexer.expand(word, state.variables(), line)) ??
            lexer.words(rest, state.variables(), line),
        }
  const places = words.slice(0, -1)
  const count = places.length + inline.length
  if (words.length === 0 || count === 0) fail(line, `${keyword} requires at least one source and a destination`)
  if (count > MAX_SOURCES) fail(line, `more than ${MAX_SOURCES} sources`)
  const destination = absolutePath(words.at(-1) ?? "", state.workingDirectory)
  if (count > 1 && !destination.endsWith("/"))
    fail(
      line,
      `When using ${keyword} with more than one source file, the destination must be a directory and end with a /`,
    )
  const [owner, mode] = ["chown", "chmod"].map((name) => {
    const value = flags.text(name)
    return value === null ? null : expanded(value, instruction, stage)
  })
  if (mode !== null && mode !== undefined && parseFileMode(mode) === undefined)
    fail(
      line,
      `invalid chmod parameter: '${mode.slice(0, 60)}'. it should be octal string and between 0 and 07777, or letters as chmod takes them`,
    )
  const excluded = flags.list("exclude").map((pattern) => expanded(pattern, instruction, stage))
  if (excluded.some(({ length }) => length === 0 || length > MAX_PATTERN_CHARACTERS))
    fail(line, `--exclude takes a pattern of 1 to ${MAX_PATTERN_CHARACTERS} characters`)
  return {
    kind: "copy",
    flags,
    places,
    inline,
    destination,
    owner: owner ?? null,
    mode: mode ?? null,
    link: flags.isOn("link"),
    excluded,
  }
}

const expanded = (value: string, { line }: Instruction, { lexer, state }: StageBuild) =>
  lexer.expand(value, state.variables(), line)
