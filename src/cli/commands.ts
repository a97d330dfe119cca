import type { Config } from "../config.ts"

export interface CommandInput {
  readonly config: Config
  /** What was given for each option that was, in order; nothing for one that takes no value. */
  readonly options: ReadonlyMap<string, readonly string[]>
  /** What was given for each argument that was. */
  readonly args: Readonly<Record<string, string>>
  readonly print: (line: string) => void
  /** What is said beside a result: on stderr, so that the result can be piped on. */
  readonly note: (line: string) => void
  readonly signal: AbortSignal
  /** Aborted by SIGUSR2: a daemon is to put its virtual machines to sleep before it stops. */
  readonly down: AbortSignal
}

export interface Argument {
  readonly what: string
  readonly required: boolean
}

export interface Option {
  readonly what: string
  /** How its value is shown, if it takes one. */
  readonly value?: string
  /** Whether it may be given more than once. */
  readonly many?: boolean
  /** A letter for it. */
  readonly short?: string
}

/** A command as data: what the command line is checked against is what its help shows. */
export interface Command {
  readonly summary: string
  /** What it does, in lines of at most 80 characters. */
  readonly description: readonly string[]
  /** By their names as they are shown, in the order in which they are typed. */
  readonly args?: Readonly<Record<string, Argument>>
  /** By their names without dashes. */
  readonly options: Readonly<Record<string, Option>>
  /** What is typed, and what for. */
  readonly examples: Readonly<Record<string, string>>
  /** Whether it makes what only root may make. */
  readonly asRoot: boolean
  /** Resolves with the exit code. */
  run(input: CommandInput): Promise<number>
}

/** Every command of `torpor`. Its code is loaded when it runs: help and refusals come at once. */
export const commands: Readonly<Record<string, Command>> = {
  quickstart: {
    summary: "build, launch, suspend and wake a sample application, with timings",
    description: [
      "Installs what this machine lacks (as `torpor setup` does), then starts a daemon",
      "of its own in a temporary directory and on free ports. A Dockerfile becomes an",
      "image, the image a virtual machine that answers at its own URL, sleeps, and",
      "wakes with its memory intact; functions are invoked, cold and warm. Nothing is",
      "left running, and a daemon that runs beside it is not touched.",
    ],
    options: {},
    examples: { "torpor quickstart": "see all of it once" },
    asRoot: true,
    run: async (input) => (await import("./quickstart/quickstart.ts")).quickstart(input),
  },
  setup: {
    summary: "install what this machine lacks, and build the base artefacts",
    description: [
      "Says which packages are missing and why, installs them with apt-get, and builds",
      "kernel, agent and managed base image into the cache. What is there already is",
      "left as it is. With TORPOR_NO_INSTALL=1 it prints the exact command and stops.",
    ],
    options: { tests: { what: "install what the tests and benches need as well" } },
    examples: {
      "torpor setup": "install and build",
      "TORPOR_NO_INSTALL=1 torpor setup": "only say what would be installed",
    },
    asRoot: true,
    run: async (input) => (await import("./setup/setup.ts")).setup(input),
  },
  doctor: {
    summary: "check everything that the daemon needs, and say what to do",
    description: [
      "Looks at this machine as the daemon will: rights, packages, QEMU, KVM or TCG,",
      "namespaces, nftables, cgroups, Postgres, disk, ports, name resolution. Nothing",
      "is changed. Ends with 1 when a check fails; a warning is no failure.",
    ],
    options: { json: { what: "print the findings as one JSON array" } },
    examples: {
      "torpor doctor": "for people",
      "torpor doctor --json": "for programs: [{name, state, detail, remedy?}, …]",
    },
    asRoot: false,
    run: async (input) => (await import("./setup/doctor.ts")).doctor(input),
  },
  serve: {
    summary: "run the daemon in the foreground",
    description: [
      "Serves the API and the edge until SIGTERM or SIGINT; its log is JSON on stderr.",
      "It is ready when GET /healthz of the API answers 200. Virtual machines and the",
      "private Postgres run on when it stops: the next start takes them over.",
    ],
    options: {},
    examples: {
      "torpor serve": "the API on 127.0.0.1:7070, the edge on 127.0.0.1:7443",
      "TORPOR_DATA_DIR=/srv/torpor torpor serve": "with its data elsewhere",
    },
    asRoot: true,
    run: async (input) => (await import("./serve.ts")).serve(input),
  },
  build: {
    summary: "build an image from a directory with a Dockerfile",
    description: [
      "Sends the directory, without what .dockerignore leaves out, to the daemon; creates",
      "the image, or its next version if it is there; shows the build's log as it is",
      "written. Ctrl-C cancels the build.",
    ],
    args: { DIR: { what: "the build's context; by default the working directory", required: false } },
    options: {
      name: { what: "the image's name; by default the directory's", value: "NAME", short: "n" },
      file: { what: "the Dockerfile; by default DIR/Dockerfile", value: "FILE", short: "f" },
      target: { what: "the stage to build; by default the last", value: "STAGE" },
      "build-arg": { what: "a value for an ARG; may be repeated", value: "NAME=VALUE", many: true },
      env: {
        what: "a variable of the running application; may be repeated",
        value: "NAME=VALUE",
        many: true,
        short: "e",
      },
      memory: { what: "of each virtual machine: 512 (the default), 1024, 2048, 4096, 8192", value: "MIB", short: "m" },
    },
    examples: {
      "torpor build": "the working directory, by its own name",
      "torpor build -n api --target prod services/api": "one stage of another one",
    },
    asRoot: false,
    run: async (input) => (await import("./images/build.ts")).build(input),
  },
  run: {
    summary: "launch a virtual machine of an image, and print how to reach it",
    description: [
      "Prints the MicroVM's id and a curl command with its URL and a token for it. It",
      "sleeps when nobody uses it, wakes on a request, and ends after eight hours.",
    ],
    args: { IMAGE: { what: "the image's name", required: true } },
    options: { port: { what: "the one that the application listens on; 8080 by default", value: "PORT", short: "p" } },
    examples: {
      "torpor run api": "of its latest version",
      "torpor run api --port 3000": "whose application listens there",
    },
    asRoot: false,
    run: async (input) => (await import("./run.ts")).run(input),
  },
  open: {
    summary: "print a link that lets a browser into a virtual machine",
    description: [
      "The link is good once and for a minute; the browser that opens it stays let in",
      "for as long as is asked for.",
    ],
    args: { ID: { what: "the MicroVM's id", required: true } },
    options: {
      port: { what: "the one that the application listens on; 8080 by default", value: "PORT", short: "p" },
      path: { what: "the page; / by default", value: "PATH" },
      minutes: { what: "how long the browser stays let in, at most 60, which is the default", value: "MINUTES" },
    },
    examples: { "torpor open microvm-…": "its first page", "torpor open microvm-… -p 3000 --path /admin": "another" },
    asRoot: false,
    run: async (input) => (await import("./open.ts")).open(input),
  },
  ps: {
    summary: "list the virtual machines, with their states",
    description: ["Those that have not ended, the newest first."],
    options: {
      all: { what: "also those that were terminated", short: "a" },
      json: { what: "print them as one JSON array, as ListMicrovms has them" },
    },
    examples: { "torpor ps": "for people", "torpor ps --all --json": "for programs" },
    asRoot: false,
    run: async (input) => (await import("./microvms.ts")).list(input),
  },
  suspend: {
    summary: "put a virtual machine to sleep",
    description: [
      "What was sent to it is answered first. It keeps its memory, and wakes on the next",
      "request or by `torpor resume`.",
    ],
    args: { ID: { what: "the MicroVM's id", required: true } },
    options: {},
    examples: { "torpor suspend microvm-…": "before its idle time is over" },
    asRoot: false,
    run: async (input) => (await import("./microvms.ts")).suspend(input),
  },
  resume: {
    summary: "wake a virtual machine",
    description: [
      "A request does the same, unless the MicroVM's idle policy says otherwise; that of",
      "`torpor run` doesn't.",
    ],
    args: { ID: { what: "the MicroVM's id", required: true } },
    options: {},
    examples: { "torpor resume microvm-…": "before somebody asks it" },
    asRoot: false,
    run: async (input) => (await import("./microvms.ts")).resume(input),
  },
  terminate: {
    summary: "end a virtual machine for good",
    description: ["Its memory and disk are gone. Its image and its log stay."],
    args: { ID: { what: "the MicroVM's id", required: true } },
    options: {},
    examples: { "torpor terminate microvm-…": "when it is not needed any more" },
    asRoot: false,
    run: async (input) => (await import("./microvms.ts")).terminate(input),
  },
  logs: {
    summary: "show what builds, virtual machines and functions have said",
    description: [
      "NAME is an image's or a function's, for all that belongs to it; a MicroVM's id; or a",
      "log group's own. STREAM is one of the group's streams, or the beginning of some names.",
      "All that is kept is shown, unless --since says from when on.",
    ],
    args: {
      NAME: { what: "an image, a function, a MicroVM's id, or a log group", required: true },
      STREAM: { what: "a stream of the group, or how it begins", required: false },
    },
    options: {
      follow: { what: "go on with what is said from now on; Ctrl-C ends it", short: "f" },
      since: { what: "10m, 2h or 1d ago, or a time such as 2026-01-31T12:00Z", value: "TIME", short: "s" },
      timestamps: { what: "when each line was said, in front of it", short: "t" },
    },
    examples: {
      "torpor logs -f api": "everything of the image: its builds and its MicroVMs",
      "torpor logs microvm-… --since 10m": "one MicroVM, the last ten minutes",
      "torpor logs api 2026/01/31": "what began on one day",
    },
    asRoot: false,
    run: async (input) => (await import("./logs.ts")).logs(input),
  },
  invoke: {
    summary: "invoke a function, and print what it answers",
    description: [
      "The answer goes to stdout as it is; with --tail the last lines of the invocation's",
      "log go to stderr. Ends with 1 when the function failed, and prints its error.",
    ],
    args: { NAME: { what: "the function's name, or NAME:VERSION, NAME:ALIAS, or its ARN", required: true } },
    options: {
      payload: { what: "the event, as JSON; - is stdin, and {} is the default", value: "FILE", short: "p" },
      tail: { what: "show the end of the invocation's log", short: "t" },
    },
    examples: {
      "torpor invoke hello": "with an empty event",
      "echo '{\"a\":1}' | torpor invoke hello:live -p - -t": "an alias of it, with its log",
    },
    asRoot: false,
    run: async (input) => (await import("./functions/invoke.ts")).invoke(input),
  },
  "functions usage": {
    summary: "show what a function has been used for",
    description: [
      "Invocations, errors, throttles, their duration and memory, of each version, of the",
      "last day unless --since says otherwise.",
    ],
    args: { NAME: { what: "the function's name", required: true } },
    options: {
      since: { what: "10m, 2h or 30d ago, or a time such as 2026-01-31T12:00Z", value: "TIME", short: "s" },
      json: { what: "print it as one JSON array, an element for each version and hour" },
    },
    examples: {
      "torpor functions usage hello": "of the last day",
      "torpor functions usage hello --since 30d --json": "for programs",
    },
    asRoot: false,
    run: async (input) => (await import("./functions/usage.ts")).usage(input),
  },
  "functions ls": {
    summary: "list the functions, with their runtimes and sizes",
    description: ["The newest code of each: what $LATEST is."],
    options: { json: { what: "print them as one JSON array, as ListFunctions has them" } },
    examples: { "torpor functions ls": "for people", "torpor functions ls --json": "for programs" },
    asRoot: false,
    run: async (input) => (await import("./functions/list.ts")).list(input),
  },
  "images ls": {
    summary: "list the images, or the versions of one",
    description: [
      "An image's version is the newest that was built: what `torpor run` takes. Those of",
      "one image are listed the newest first, with those that failed.",
    ],
    args: { NAME: { what: "an image, for its versions", required: false } },
    options: { json: { what: "print them as one JSON array, as ListMicrovmImages or …Versions has them" } },
    examples: { "torpor images ls": "all of them", "torpor images ls api --json": "the versions of one, for programs" },
    asRoot: false,
    run: async (input) => (await import("./images/list.ts")).list(input),
  },
  "images rm": {
    summary: "delete an image, or one of its versions",
    description: [
      "An image goes with all its versions, once every MicroVM of it has ended. MicroVMs of",
      "a version that is deleted run on, sleep and wake; its memory and disk go with the",
      "last of them. Logs stay. The build steps that it stood on are `images prune`'s.",
    ],
    args: { IMAGE: { what: "the image's name, or NAME:VERSION", required: true } },
    options: {},
    examples: { "torpor images rm api": "all of it", "torpor images rm api:3.0": "one version" },
    asRoot: false,
    run: async (input) => (await import("./images/remove.ts")).remove(input),
  },
  "images df": {
    summary: "show what images, builds and functions take on the daemon's disk",
    description: [
      "Reclaimable is what nothing that is there needs: `torpor images prune` removes it.",
      "For the operator's access keys only: it is of all accounts.",
    ],
    options: { json: { what: "print it as one JSON array" } },
    examples: { "torpor images df": "for people", "torpor images df --json": "for programs, in bytes" },
    asRoot: false,
    run: async (input) => (await import("./images/storage.ts")).df(input),
  },
  "images prune": {
    summary: "remove what builds have left and no image needs",
    description: [
      "Removes build steps that no image stands on, caches of RUN --mount, layers of base",
      "images that were not used within the last hour, and guests that another system",
      "booted. No image is touched; the next builds do again what they need. For the",
      "operator's access keys only: it is of all accounts.",
    ],
    options: {},
    examples: { "torpor images prune": "when the disk is full" },
    asRoot: false,
    run: async (input) => (await import("./images/storage.ts")).prune(input),
  },
  "keys rotate": {
    summary: "sign tokens with a new key from now on",
    description: [
      "Tokens that were given out stay good until they expire, and the old key is kept",
      "for them that long. The daemon does the same by itself every 30 days. For the",
      "operator's access keys only: it is of all accounts.",
    ],
    options: {},
    examples: { "torpor keys rotate": "sooner than that" },
    asRoot: false,
    run: async (input) => (await import("./keys.ts")).rotate(input),
  },
  down: {
    summary: "put every virtual machine to sleep, stop the daemon and its Postgres",
    description: [
      "Stops the daemon of this data directory if it runs, then suspends each of its",
      "virtual machines and stops the private Postgres. `torpor serve` brings all of",
      "it back, and a request wakes a virtual machine as ever.",
    ],
    options: {},
    examples: { "torpor down": "before the host is restarted" },
    asRoot: true,
    run: async (input) => (await import("./down.ts")).down(input),
  },
}
