/** A function as many are: a handler in middleware, with the logger that is made for Lambda. */
import { injectLambdaContext } from "@aws-lambda-powertools/logger/middleware"
import { Logger } from "@aws-lambda-powertools/logger"
import withMiddleware from "@middy/core"

const logger = new Logger({ serviceName: "outside" })

export const handler = withMiddleware(async (event: { name?: string }) => {
  if (event.name === undefined) throw new TypeError("nobody")
  logger.info("greeting", { name: event.name })
  return { greeting: `hello ${event.name}` }
})
  .use(injectLambdaContext(logger))
  .onError(({ error }) => {
    logger.error("failed", error as Error)
  })
