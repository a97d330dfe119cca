import { DockerfileError } from "../../../images/dockerfile/error.ts"
import type { BaseConfig } from "../../../images/dockerfile/base-config.ts"
import { BARE } from "../../../images/dockerfile/ground.ts"
import { planBuild, type BuildPlan, type PlanOptions, type Stage } from "../../../images/dockerfile/plan.ts"
import type { CopyStep, DirectoryStep, RunStep } from "../../../images/dockerfile/step.ts"

/** A plan in a world without images. */
export const planOf = (text: string, options: Partial<PlanOptions> = {}): Promise<BuildPlan> =>
  planBuild(text, {
    async resolveImage(reference, line) {
      throw new DockerfileError(line, `there is no image ${reference}`)
    },
    ...options,
  })

/** A world with these images, and what is special about them. */
export const imagesOf = (images: Readonly<Record<string, Partial<BaseConfig>>>): Pick<PlanOptions, "resolveImage"> => ({
  async resolveImage(reference, line) {
    const config = images[reference]
    if (config === undefined) throw new DockerfileError(line, `there is no image ${reference}`)
    return { digest: `sha256:${reference}`, config: { ...BARE, ...config } }
  },
})

/** The target's stage. */
export const targetOf = async (text: string, options?: Partial<PlanOptions>): Promise<Stage> =>
  (await planOf(text, options)).stages.at(-1)!

/** A plan of lines behind the managed image. */
export const plan = (...lines: string[]) => planOf(["FROM torpor/debian:13", ...lines, 'CMD ["true"]'].join("\n"))

const stepsOf = async (lines: readonly string[]) => (await plan(...lines)).stages.at(-1)!.steps
export const runs = async (...lines: string[]) =>
  (await stepsOf(lines)).filter((step): step is RunStep => step.kind === "run")
export const copies = async (...lines: string[]) =>
  (await stepsOf(lines)).filter((step): step is CopyStep => step.kind === "copy")
export const directories = async (...lines: string[]) =>
  (await stepsOf(lines)).filter((step): step is DirectoryStep => step.kind === "directory").map(({ path }) => path)

export const refusal = async (text: string, options?: Partial<PlanOptions>): Promise<DockerfileError> => {
  try {
    await planOf(text, options)
  } catch (error) {
    if (error instanceof DockerfileError) return error
    throw error
  }
  throw new Error("It was accepted")
}
