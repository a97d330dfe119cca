import { readdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import { expect, test } from "vitest"
import { ensureRuntime } from "../../../images/runtimes/runtime-disks.ts"
import { parseConfig } from "../../../src/config.ts"
import { compileJava } from "../../agent-guest/functions/java-function.ts"
import { startTestDaemon } from "../../fixtures/daemon.ts"
import { codeOf, deploy, invoke, openLambda, publishLayer, type Files } from "../../fixtures/functions.ts"

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
    answer.put("text", System.getenv("GREETING") + " " + event.get("name") + words.Mark.text());
    answer.put("java", Runtime.version().feature());
    answer.put("calls", ++calls);
    answer.put("here", Files.exists(Path.of("example/Greeting.class")));
    answer.put("heap", Runtime.getRuntime().maxMemory() >> 20);
    return answer;
  }
}`,
  "Mark.java": `package words;
public class Mark {
  public static String text() { return "!"; }
}`,
}

const all = process.env["TORPOR_TEST_ALL"] === "1"

const classesIn = async (directory: string, start: string): Promise<Files> => {
  const found = await readdir(directory, { recursive: true })
  const names = found.filter((name) => name.startsWith(start) && name.endsWith(".class"))
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readFile(join(directory, name))] as const)),
  )
}

test.for(["java21", "java25"] as const)(
  "A function of %s answers in a VM with a jar of its layer, and keeps what it has between two events",
  async (runtime, { skip }) => {
    skip(
      !all,
      "its code runs in test/agent-guest/functions too, and its packages take minutes: TORPOR_TEST_ALL=1 has it in a VM",
    )
    const disks = await ensureRuntime(runtime, parseConfig(process.env), () => {}, AbortSignal.timeout(600_000))
    await using classes = await compileJava(disks, CODE)
    await using daemon = await startTestDaemon({}, { environments: { initSeconds: 120 } })
    const lambda = await openLambda(daemon)
    const [own, layered] = await Promise.all(["example/", "words/"].map((start) => classesIn(classes.path, start)))
    const layer = await publishLayer(lambda, "words", { "java/lib/words.jar": await codeOf(layered ?? {}) })
    await deploy(lambda, "java", runtime, own ?? {}, {
      Layers: [layer],
      Handler: "example.Greeting",
      Timeout: 60,
      MemorySize: 512,
      Environment: { Variables: { GREETING: "hello" } },
    })
    const first = await invoke(lambda, "java", { name: "ada" })
    expect(first.payload, first.log).toMatchObject({
      text: "hello ada!",
      calls: 1,
      here: true,
      java: Number(runtime.slice(4)),
    })
    expect(first.log).toContain("greeting ada\n")
    const second = await invoke(lambda, "java", { name: "bob" })
    expect(second.payload).toMatchObject({ text: "hello bob!", calls: 2 })
    const failed = await invoke(lambda, "java", { fail: "1" })
    expect(failed).toMatchObject({
      error: "Unhandled",
      payload: {
        errorMessage: "broken",
        errorType: "java.lang.IllegalStateException",
        stackTrace: expect.arrayContaining([
          expect.stringMatching(/^example\.Greeting\.handleRequest\(Greeting\.java:\d+\)$/),
        ]),
      },
    })
    lambda.destroy()
  },
)
