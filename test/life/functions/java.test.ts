import { readdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import { expect, test } from "vitest"
import { ensureRuntime } from "../../../images/runtimes/runtime-disks.ts"
import { parseConfig } from "../../../src/config.ts"
import { compileJava } from "../../agent-guest/functions/java-function.ts"
import { startTestDaemon } from "../../fixtures/daemon.ts"
import { deploy, invoke, openLambda, type Files } from "../../fixtures/functions.ts"

const CODE = {
  "Greeting.java": `package example;
import com.amazonaws.services.lambda.runtime.*;
import java.nio.file.*;
import java.util.*;
public class Greeting implements RequestHandler<Map<String, String>, Map<String, Object>> {
  static int calls = 0;
  public Map<String, Object> handleRequest(Map<String, String> event, Context context) {
    if (event.containsKey("fail")) throw new IllegalStateException("broken");
    context.getLogger().log("greeting " + event.get("name"));
    Map<String, Object> answer = new LinkedHashMap<>();
    answer.put("text", System.getenv("GREETING") + " " + event.get("name"));
    answer.put("calls", ++calls);
    answer.put("here", Files.exists(Path.of("example/Greeting.class")));
    answer.put("heap", Runtime.getRuntime().maxMemory() >> 20);
    return answer;
  }
}`,
}

const all = process.env["TORPOR_TEST_ALL"] === "1"

const classesIn = async (directory: string): Promise<Files> => {
  const names = (await readdir(directory, { recursive: true })).filter((name) => name.endsWith(".class"))
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readFile(join(directory, name))] as const)),
  )
}

test("A Java function answers in a VM, and keeps what it has between two events", async ({ skip }) => {
  skip(
    !all,
    "its code runs in test/agent-guest/functions too, and its packages take minutes: TORPOR_TEST_ALL=1 has it in a VM",
  )
  const disks = await ensureRuntime("java21", parseConfig(process.env), () => {}, AbortSignal.timeout(600_000))
  await using classes = await compileJava(disks, CODE)
  await using daemon = await startTestDaemon({}, { environments: { initSeconds: 120 } })
  const lambda = await openLambda(daemon)
  await deploy(lambda, "java", "java21", await classesIn(classes.path), {
    Handler: "example.Greeting",
    Timeout: 60,
    MemorySize: 512,
    Environment: { Variables: { GREETING: "hello" } },
  })
  const first = await invoke(lambda, "java", { name: "ada" })
  expect(first.payload, first.log).toMatchObject({ text: "hello ada", calls: 1, here: true })
  expect(first.log).toContain("greeting ada\n")
  const second = await invoke(lambda, "java", { name: "bob" })
  expect(second.payload).toMatchObject({ text: "hello bob", calls: 2 })
  const failed = await invoke(lambda, "java", { fail: "1" })
  expect(failed).toMatchObject({ error: "Unhandled", payload: { errorType: "java.lang.IllegalStateException" } })
  lambda.destroy()
})
