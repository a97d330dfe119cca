import type { FunctionSettings } from "../../src/db/function-values.ts"

/** The settings of a function whose author gave only what is required: a runtime and a handler. */
export const defaultSettings: Readonly<FunctionSettings> = {
  runtime: "",
  handler: "",
  role: "",
  description: "",
  timeoutSeconds: 3,
  memoryMiB: 128,
  temporaryMiB: 512,
  architectures: ["x86_64"],
  layers: [],
  logging: { format: "Text", applicationLevel: null, systemLevel: null, group: null },
  tracing: "PassThrough",
  deadLetterArn: null,
  kmsKeyArn: null,
  vpc: false,
}
