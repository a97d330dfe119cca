import type { AsyncIntake } from "../../../machines/functions/events/intake.ts"
import type { Invoker } from "../../../machines/functions/invoking/invoker.ts"
import type { Provisions } from "../../../machines/functions/provisioned/provisions.ts"
import type { UsageReader } from "../../../machines/functions/usage/usage-reader.ts"
import type { Functions } from "../../../machines/functions/resources.ts"
import { createCodeLinks } from "../../../src/api/aws/functions/code/code-links.ts"
import { createOperations } from "../../../src/api/aws/functions/service.ts"

/** What is known of every operation; there is nothing behind them. */
export const operations = createOperations({
  functions: {} as Functions,
  links: createCodeLinks("", String),
  invoking: {
    invoker: {} as Invoker,
    intake: {} as AsyncIntake,
    provisions: {} as Provisions,
    usage: {} as UsageReader,
  },
  urlSuffix: "",
})
