/** What a Java runtime's disk has of our own: its classes, compiled by the Java that will run them, and the authorities that it trusts. */
import { cp, mkdir, readdir } from "node:fs/promises"
import { basename, join } from "node:path"
import { fileURLToPath } from "node:url"
import { copyFrom, runIn, type DebianGround, type Finishing } from "../debian.ts"

const SOURCES = new URL(".", import.meta.url)
const PARTS = ["api", "serving", "training"] as const
const JARS = ["jackson-annotations", "jackson-core", "jackson-databind"]
/** Of the tree while something is made in it. */
const WORKPLACE = "workplace"
const TRUST_STORE = "etc/ssl/certs/java/cacerts"
const AUTHORITIES = "usr/share/ca-certificates/mozilla"
const SERVING = `/${WORKPLACE}/out/lib/serving`
const API = `/${WORKPLACE}/out/lib/api`

/** Compiles the runtime and makes its trust store. */
export const CLASSES: Finishing = {
  async sources() {
    const names = await javaSources()
    return [import.meta.url, ...names].map((name) => new URL(name, SOURCES))
  },
  async finish(ground, signal) {
    await makeTrustStore(ground, signal)
    await compile(ground, signal)
  },
}

/** From {@link SOURCES}. */
const javaSources = async (): Promise<readonly string[]> => {
  const all = await readdir(SOURCES, { recursive: true })
  return all.filter((name) => name.endsWith(".java")).toSorted()
}

const JAVAC = [
  "-XX:+UseSerialGC",
  "-XX:TieredStopAtLevel=1",
  "--module",
  "jdk.compiler/com.sun.tools.javac.Main",
  "-Xlint:all",
  "-Werror",
]
/** What serves functions is in no module of its own. */
const EXPORTS = "torpor.runtime/torpor.runtime=ALL-UNNAMED"

const compile = async ({ tree, home, runtime }: DebianGround, signal: AbortSignal) => {
  const workplace = join(tree, WORKPLACE)
  for (const part of PARTS) await cp(fileURLToPath(new URL(part, SOURCES)), join(workplace, part), { recursive: true })
  const jars = JARS.map((name) => `${name}.jar`)
  for (const jar of jars) await copyFrom(tree, `usr/share/java/${jar}`, join(tree, SERVING, jar), signal)
  const sources = await javaSources()
  const javac = (part: (typeof PARTS)[number], to: string, options: readonly string[]) => {
    const own = sources.filter((name) => name.startsWith(`${part}/`)).map((name) => `/${WORKPLACE}/${name}`)
    return runIn(tree, [`/${home}/bin/java`, ...JAVAC, "-d", to, ...options, ...own], { signal })
  }
  const ofApi = ["--module-path", API, "--add-modules", "torpor.runtime"]
  const classPath = jars.map((jar) => `${SERVING}/${jar}`).join(":")
  await javac("api", API, [])
  await javac("serving", SERVING, [...ofApi, "--add-exports", EXPORTS, "-cp", classPath])
  await javac("training", `/${WORKPLACE}/out/training`, ofApi)
  await cp(join(workplace, "out"), runtime, { recursive: true })
}

/** As the package would in a whole system: the authorities that Debian trusts. */
const makeTrustStore = async ({ tree, home, lang }: DebianGround, signal: AbortSignal) => {
  await mkdir(join(tree, TRUST_STORE, ".."), { recursive: true })
  const authorities = await readdir(join(tree, AUTHORITIES))
  await runIn(
    tree,
    [
      `/${home}/bin/java`,
      "-Xmx64m",
      "-jar",
      "/usr/share/ca-certificates-java/ca-certificates-java.jar",
      "-storepass",
      "changeit",
    ],
    { signal, input: authorities.map((name) => `+/${AUTHORITIES}/${name}\n`).join("") },
  )
  await cp(join(tree, TRUST_STORE), join(lang, "lib/security", basename(TRUST_STORE)))
}
