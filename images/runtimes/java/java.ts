/** Functions of Java. */
import { compiledIn } from "../files.ts"
import type { LanguageRuntime } from "../language.ts"
import { CLASSES } from "./java-classes.ts"

/** The rest of a function's memory is for what Java has beside its heap. */
const HEAP_SHARE = 0.85

export const JAVA: LanguageRuntime = {
  // Its classes are compiled by the Java that is its interpreter, when there is one.
  files: async () => [await compiledIn(new URL(".", import.meta.url), "become.c", "libbecome.so")],
  finishing: CLASSES,
  trainings: ["training.Beans", "training.Maps::handle"],
  isMadeForSnapshots: true,
  argumentsOf: (memoryMiB) => [`-XX:MaxHeapSize=${Math.floor(memoryMiB * 1024 * HEAP_SHARE)}K`],
}
