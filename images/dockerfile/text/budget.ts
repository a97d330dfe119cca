/** What the variables of one Dockerfile may take: a few lines that double each other would fill any memory, and a pattern any time. */
import { DockerfileError } from "../error.ts"

export interface Budget {
  /** So many characters come to be. */
  grow(characters: number): void
  /** So many characters are compared with a pattern. */
  work(comparisons: number): void
}

/** No instruction says more than this once its variables are replaced, and no word of it is larger than a kernel takes. */
export const MAX_EXPANDED_CHARACTERS = 256 * 1024
const MAX_ALL_CHARACTERS = 32 * 1024 * 1024
/** A second or two of one core. */
const MAX_COMPARISONS = 50_000_000

/** A Dockerfile's budget, of which each text gets a part by `of`. */
export const createBudgets = () => {
  let [characters, comparisons] = [0, 0]
  return {
    of(line: number): Budget {
      let mine = 0
      return {
        grow(more) {
          mine += more
          characters += more
          if (mine > MAX_EXPANDED_CHARACTERS)
            throw new DockerfileError(
              line,
              `longer than ${MAX_EXPANDED_CHARACTERS} characters with its variables replaced`,
            )
          if (characters > MAX_ALL_CHARACTERS)
            throw new DockerfileError(
              line,
              `from here on the Dockerfile is longer than ${MAX_ALL_CHARACTERS} characters with its variables replaced`,
            )
        },
        work(more) {
          comparisons += more
          if (comparisons > MAX_COMPARISONS)
            throw new DockerfileError(
              line,
              "the patterns in its variables take too long: make them or the values shorter",
            )
        },
      }
    },
  }
}
