import { GetFunctionConfigurationCommand } from "@aws-sdk/client-lambda"
import { expect, test } from "vitest"
import { arnOf, startTestDaemon } from "../../fixtures/daemon.ts"
import { deploy, invoke, openLambda } from "../../fixtures/functions.ts"
import { SHELL_BOOTSTRAP } from "./handlers.ts"

const all = process.env["TORPOR_TEST_ALL"] === "1"

const DOCKERFILE = `FROM torpor/debian:13
COPY bootstrap /var/runtime/bootstrap
RUN chmod 755 /var/runtime/bootstrap && echo from an image > /etc/runtime-mark
CMD ["python3", "-m", "http.server", "8080"]
`

test("A function of a runtime that the operator has mapped to an image answers in a VM of that", async ({ skip }) => {
  skip(!all, "its parts are tested without a VM, and an image is built for it: TORPOR_TEST_ALL=1 has it in a VM")
  await using daemon = await startTestDaemon(
    {},
    { environments: { initSeconds: 120 }, functions: { runtimes: { "python3.12": arnOf("python312") } } },
  )
  const bootstrap = SHELL_BOOTSTRAP.replace(
    '-d "$event"',
    '-d "[\\"$(cat /etc/runtime-mark)\\",\\"$(ls /var/task)\\",$event]"',
  )
  const lambda = await openLambda(daemon)
  try {
    await expect(deploy(lambda, "early", "python3.12", { "code.py": "" })).rejects.toThrow()
    const early = await lambda.send(new GetFunctionConfigurationCommand({ FunctionName: "early" }))
    expect(early).toMatchObject({ State: "Failed", StateReasonCode: "InvalidImage" })
    await daemon.build("python312", { Dockerfile: DOCKERFILE, bootstrap })
    await deploy(lambda, "mapped", "python3.12", { "code.py": "" }, { Timeout: 60 })
    const { payload, log } = await invoke(lambda, "mapped", { n: 1 })
    expect(payload, log).toEqual(["from an image", "code.py", { n: 1 }])
  } finally {
    lambda.destroy()
  }
})
