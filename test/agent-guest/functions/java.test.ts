import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { ensureRuntime, type RuntimeDisks } from "../../../images/runtimes/runtime-disks.ts"
import { LANGUAGES } from "../../../images/runtimes/languages.ts"
import { parseConfig } from "../../../src/config.ts"
import { compileJava, startJava, startJavaProgram, type JavaFunctionOptions } from "./java-function.ts"
import { ARN, eventOf, invoke, openApi, resultOf } from "./program.ts"
import { FUNCTION_ENV } from "./function.ts"

const CLASSES = {
  "Hello.java": `package example;
import com.amazonaws.services.lambda.runtime.*;
import java.io.*;
import java.util.*;
import java.util.stream.*;
public class Hello implements RequestHandler<Map<String, Object>, Object> {
  public static class Order {
    private String name;
    private List<Item> items;
    private Long count;
    public String getName() { return name; }
    public void setName(String name) { this.name = name; }
    public List<Item> getItems() { return items; }
    public void setItems(List<Item> items) { this.items = items; }
    public Long getCount() { return count; }
    public void setCount(Long count) { this.count = count; }
    public boolean isLarge() { return items != null && items.size() > 1; }
  }
  public record Item(String id, double price) {}
  public Object handleRequest(Map<String, Object> event, Context context) { return event; }
  public Order order(Order order) { return order; }
  public static int length(List<String> words, Context context) { return words.size(); }
  public String upper(String word) { return word.toUpperCase(); }
  public long twice(int n) { return 2L * n; }
  public void nothing() {}
  public void raw(InputStream in, OutputStream out, Context context) throws IOException { out.write("raw ".getBytes()); in.transferTo(out); }
  public int both(int n) { return 1; }
  public int both(int n, Context context) { return 2; }
}`,
  "Streaming.java": `package example;
import com.amazonaws.services.lambda.runtime.*;
import java.io.*;
public class Streaming implements RequestStreamHandler {
  public void handleRequest(InputStream in, OutputStream out, Context context) throws IOException { in.transferTo(out); }
}`,
  "Faulty.java": `package example;
import com.amazonaws.services.lambda.runtime.*;
import java.util.*;
public class Faulty implements RequestHandler<String, Object> {
  public Object handleRequest(String what, Context context) {
    switch (what) {
      case "cause": throw new IllegalStateException("broken", new RuntimeException());
      case "loop": return this;
      case "exit": System.exit(7);
      case "memory": return new byte[1 << 30];
      default: return what;
    }
  }
  public Faulty getSelf() { return this; }
  public int divide(int n) { return 1 / n; }
}`,
  "Init.java": `package example;
public class Init {
  static { if (true) throw new IllegalArgumentException("no configuration"); }
  public int handle() { return 1; }
}`,
  "Hidden.java": `package example;
public class Hidden {
  public Hidden(int n) {}
  public int handle() { return 1; }
}`,
  "Told.java": `package example;
import com.amazonaws.services.lambda.runtime.*;
import java.util.*;
public class Told implements RequestHandler<Object, Map<String, Object>> {
  public Map<String, Object> handleRequest(Object event, Context context) {
    Map<String, Object> told = new LinkedHashMap<>();
    told.put("id", context.getAwsRequestId());
    told.put("group", context.getLogGroupName());
    told.put("stream", context.getLogStreamName());
    told.put("name", context.getFunctionName());
    told.put("version", context.getFunctionVersion());
    told.put("arn", context.getInvokedFunctionArn());
    told.put("memory", context.getMemoryLimitInMB());
    told.put("left", 0 < context.getRemainingTimeInMillis() && context.getRemainingTimeInMillis() <= 60000);
    told.put("tenant", context.getTenantId());
    told.put("trace", System.getProperty("com.amazonaws.xray.traceHeader"));
    told.put("identity", context.getIdentity().getIdentityId());
    ClientContext client = context.getClientContext();
    told.put("custom", client == null ? null : client.getCustom());
    told.put("app", client == null ? null : client.getClient().getAppTitle());
    return told;
  }
}`,
  "Talking.java": `package example;
import com.amazonaws.services.lambda.runtime.*;
import com.amazonaws.services.lambda.runtime.logging.LogLevel;
public class Talking {
  public void handle(Object event, Context context) {
    System.out.println("printed ä");
    context.getLogger().log("two\\nlines");
    LambdaRuntime.getLogger().log("small", LogLevel.DEBUG);
    context.getLogger().log("large", LogLevel.WARN);
  }
}`,
  "Snapshotted.java": `package example;
import java.util.*;
import org.crac.*;
public class Snapshotted {
  static final List<String> steps = new ArrayList<>();
  static class Step implements Resource {
    final String name;
    Step(String name) { this.name = name; Core.getGlobalContext().register(this); }
    public void beforeCheckpoint(Context<? extends Resource> context) { steps.add("before " + name); }
    public void afterRestore(Context<? extends Resource> context) {
      if (System.getenv("FAILING") != null) throw new IllegalStateException("no way back");
      steps.add("after " + name + " in " + System.getenv("AWS_LAMBDA_LOG_STREAM_NAME"));
    }
  }
  static final Step first = new Step("first"), second = new Step("second");
  public List<String> handle() { return steps; }
}`,
  "Given.java": `package example;
import java.nio.file.*;
import java.util.*;
public class Given {
  static { System.out.println("loaded"); }
  public Map<String, Object> handle() throws Exception {
    Map<String, Object> given = new LinkedHashMap<>();
    given.put("env", System.getenv());
    given.put("cwd", Path.of("/proc/self/cwd").toRealPath().toString());
    given.put("stdin", System.in.read());
    given.put("links", Path.of("/proc/self/fd/0").toRealPath().toString());
    given.put("zone", TimeZone.getDefault().getID());
    given.put("trace", System.getProperty("com.amazonaws.xray.traceHeader"));
    given.put("child", new String(new ProcessBuilder("sh", "-c", "echo $OWN$OLD").start().getInputStream().readAllBytes()));
    given.put("loader", Thread.currentThread().getContextClassLoader() == Given.class.getClassLoader());
    return given;
  }
}`,
}

const all = process.env["TORPOR_TEST_ALL"] === "1"
const MISSING = "(its packages take minutes to fetch: TORPOR_TEST_ALL=1 has them)"

describe.skipIf(!all).each(["java21", "java25"] as const)(`A function of %s ${all ? "" : MISSING}`, (runtime) => {
  let disks: RuntimeDisks
  let classes: Awaited<ReturnType<typeof compileJava>>
  beforeAll(async () => {
    disks = await ensureRuntime(runtime, parseConfig(process.env), () => {}, AbortSignal.timeout(600_000))
    classes = await compileJava(disks, CLASSES)
  }, 600_000)
  afterAll(() => classes?.[Symbol.asyncDispose]())

  const start = (handler: string, more: Partial<JavaFunctionOptions> = {}) =>
    startJava(`example.${handler}`, { disks, code: classes.path, ...more })

  test("has its handler in one of the forms that AWS knows", async () => {
    for (const [handler, event, response] of [
      ["Hello", { a: [1, 2.5, "ä"] }, '{"a":[1,2.5,"ä"]}'],
      ["Hello::handleRequest", {}, "{}"],
      [
        "Hello::order",
        { name: "n", items: [{ id: "a", price: 1.5 }, { id: "b" }], other: 1 },
        '{"name":"n","items":[{"id":"a","price":1.5},{"id":"b","price":0.0}],"large":true}',
      ],
      ["Hello::length", ["a", "b"], "2"],
      ["Hello::upper", "word", '"WORD"'],
      ["Hello::twice", 21, "42"],
      ["Hello::nothing", {}, "null"],
      ["Hello::raw", { a: 1 }, 'raw {"a":1}'],
      ["Hello::both", 1, "2"],
      ["Streaming", { a: 1 }, '{"a":1}'],
    ] as const) {
      await using started = await start(handler)
      expect(await invoke(started, event), started.program.said.stderr).toEqual({ response })
    }
  })

  test("fails with what it threw, as AWS prints it, and goes on", async () => {
    await using started = await start("Faulty")
    expect(await invoke(started, "cause"), started.program.said.stderr).toMatchObject({
      errorType: "Runtime.Unknown",
      error: {
        errorMessage: "broken",
        errorType: "java.lang.IllegalStateException",
        stackTrace: ["example.Faulty.handleRequest(Faulty.java:7)", "example.Faulty.handleRequest(Faulty.java:4)"],
        cause: {
          errorMessage: "java.lang.RuntimeException",
          errorType: "java.lang.RuntimeException",
          stackTrace: expect.any(Array),
        },
      },
    })
    expect(started.program.said.stdout).toMatch(
      /^broken: java\.lang\.IllegalStateException\rjava\.lang\.IllegalStateException: broken\r\tat example\.Faulty\.handleRequest\(Faulty\.java:7\)\r.*Caused by: .*\n$/s,
    )
    expect(await invoke(started, { no: "text" })).toMatchObject({
      error: {
        errorMessage: "An error occurred during JSON parsing",
        errorType: "java.lang.RuntimeException",
        cause: {
          errorType: "java.io.UncheckedIOException",
          cause: { errorType: "com.fasterxml.jackson.databind.exc.MismatchedInputException" },
        },
      },
    })
    expect(await invoke(started, "loop")).toMatchObject({
      error: { errorMessage: "An error occurred during JSON serialization of response" },
    })
    expect(await invoke(started, "fine")).toEqual({ response: '"fine"' })
    started.api.invoke(eventOf("exit"))
    expect(await started.program.closed).toEqual([7, null])

    await using divides = await start("Faulty::divide")
    expect(await invoke(divides, 0)).toMatchObject({
      error: {
        errorMessage: "/ by zero",
        errorType: "java.lang.ArithmeticException",
        stackTrace: [
          "example.Faulty.divide(Faulty.java:15)",
          expect.stringMatching(
            /^java\.base\/jdk\.internal\.reflect\.DirectMethodHandleAccessor\.invoke\(DirectMethodHandleAccessor\.java:\d+\)$/,
          ),
          expect.stringMatching(/^java\.base\/java\.lang\.reflect\.Method\.invoke\(Method\.java:\d+\)$/),
        ],
      },
    })
    await using memory = await start("Faulty")
    expect(await resultOf(memory.api.invoke(eventOf("memory")))).toMatchObject({
      error: { errorMessage: "Java heap space", errorType: "java.lang.OutOfMemoryError" },
    })
    expect(await memory.program.closed).toEqual([1, null])
  })

  test("that cannot be loaded says why, and exits", async () => {
    for (const [handler, errorType, errorMessage] of [
      ["None", "java.lang.ClassNotFoundException", "Class not found: example.None"],
      [
        "Hello::none",
        "java.lang.NoSuchMethodException",
        "No public method named none with appropriate method signature found on class example.Hello",
      ],
      [
        "Hidden::handle",
        "java.lang.NoSuchMethodException",
        "Class example.Hidden has no public zero-argument constructor",
      ],
      ["Init::handle", "java.lang.ExceptionInInitializerError", "java.lang.ExceptionInInitializerError"],
    ] as const) {
      await using started = await start(handler)
      const failure = await started.api.failed
      expect(JSON.parse(String(failure.body))).toMatchObject({ errorMessage, errorType })
      expect(await started.program.closed).toEqual([1, null])
    }
  })

  test("is told of its invocation, and of the time that is left", async () => {
    await using started = await start("Told")
    const full = {
      requestId: "me",
      traceId: "Root=1-2-3",
      clientContext: '{"custom":{"a":"ä"},"client":{"app_title":"t"}}',
      cognitoIdentity: '{"cognitoIdentityId":"i"}',
      tenantId: "t",
    }
    expect(JSON.parse((await invoke(started, {}, full)).response), started.program.said.stderr).toEqual({
      id: "me",
      group: "/aws/lambda/greet",
      stream: "2026/01/31/[3]00",
      name: "greet",
      version: "3",
      arn: ARN,
      memory: 256,
      left: true,
      tenant: "t",
      trace: "Root=1-2-3",
      identity: "i",
      custom: { a: "ä" },
      app: "t",
    })
    expect(JSON.parse((await invoke(started, {})).response)).toMatchObject({ identity: "", trace: null, custom: null })
  })

  test("is read of in its log, as text or as JSON", async () => {
    await using text = await start("Talking::handle")
    await invoke(text, {})
    expect(text.program.said.stdout).toBe("printed ä\ntwo\rlines\n[DEBUG] small\n[WARN] large\n")
    const env = { AWS_LAMBDA_LOG_FORMAT: "JSON", AWS_LAMBDA_LOG_LEVEL: "INFO" }
    await using json = await start("Talking::handle", { env })
    await invoke(json, {}, { requestId: "id", tenantId: "t" })
    const [printed, ...records] = json.program.said.stdout.trimEnd().split("\n")
    expect(printed).toBe("printed ä")
    const record = { timestamp: expect.stringMatching(/^\d{4}-.*Z$/), AWSRequestId: "id", tenantId: "t" }
    expect(records.map((line) => JSON.parse(line) as unknown)).toEqual([
      { ...record, message: "two\nlines", level: "UNDEFINED" },
      { ...record, message: "large", level: "WARN" },
    ])
  })

  test("runs its hooks before the snapshot and after the restore, and a failed one is told", async () => {
    const snapshotted = {
      api: { initializationType: "snap-start" },
      env: { AWS_LAMBDA_INITIALIZATION_TYPE: "snap-start" },
    } as const
    await using started = await start("Snapshotted::handle", snapshotted)
    await started.api.initialised
    started.api.restore({ AWS_LAMBDA_LOG_STREAM_NAME: "another" })
    expect(JSON.parse((await invoke(started, {})).response), started.program.said.stderr).toEqual([
      "before second",
      "before first",
      "after first in another",
      "after second in another",
    ])
    await using failing = await start("Snapshotted::handle", {
      ...snapshotted,
      env: { ...snapshotted.env, FAILING: "1" },
    })
    await failing.api.initialised
    failing.api.restore({})
    expect(JSON.parse(String((await failing.api.failed).body))).toMatchObject({
      errorType: "org.crac.RestoreException",
    })
    expect(await failing.program.closed).toEqual([64, null])
  })

  test("that is given to a runtime which waited is as one that was started with it, and has nothing of its training", async () => {
    await using waiting = await startJavaProgram(
      disks,
      { port: 0 },
      { LAMBDA_TASK_ROOT: classes.path, _TORPOR_WAITING: "1", OLD: "gone" },
    )
    const { program, drive, PATH } = waiting
    const tell = (port: number, root: string, named: string, isTraining: boolean, more = {}) => {
      const env = { ...FUNCTION_ENV, PATH, LAMBDA_RUNTIME_DIR: `${drive}/runtime`, LAMBDA_TASK_ROOT: root, ...more }
      const told = { ...env, _HANDLER: named, AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${port}` }
      program.tell(JSON.stringify({ env: told, cwd: root, isTraining }))
      return told
    }
    for (const named of LANGUAGES.java.trainings) {
      await using api = await openApi()
      tell(api.port, `${drive}/files`, named, true)
      for (let n = 0; n < 2; n++) {
        const answer = api.invoke(eventOf({ n, names: ["a"] }, { traceId: "training" }))
        const { response } = await Promise.race([resultOf(answer), program.closed.then(() => ({ response: "" }))])
        expect(JSON.parse(response || "{}"), program.said.stderr).toMatchObject({ statusCode: 200 })
        await answer.settled
      }
    }
    await using api = await openApi()
    const env = tell(api.port, classes.path, "example.Given::handle", false, { OWN: "mine", TZ: ":Europe/Berlin" })
    const { response } = await resultOf(api.invoke(eventOf({})))
    expect(JSON.parse(response), program.said.stderr).toEqual({
      env,
      cwd: classes.path,
      stdin: -1,
      links: "/dev/null",
      zone: "Europe/Berlin",
      trace: null,
      child: "mine\n",
      loader: true,
    })
    expect(program.said).toEqual({ stdout: "loaded\n", stderr: "" })

    await using alone = await startJavaProgram(disks, { port: 0 }, { _TORPOR_WAITING: "1" })
    alone.program.leave()
    expect(await alone.program.closed).toEqual([0, null])
  })
})
