/** A handler in Java: its classes as a function has them, and in a server that runc starts with the same JVM on the same system. */
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { RuntimeDisks } from "../images/runtimes/runtime-disks.ts"
import { runCommand } from "../src/command.ts"
import { compileJava } from "../test/agent-guest/functions/java-function.ts"
import type { Files } from "../test/fixtures/functions.ts"
import type { RuncApp } from "./runc.ts"

const HANDLER = `package bench;
import com.amazonaws.services.lambda.runtime.*;
import java.util.*;
public class Count implements RequestHandler<Map<String, Object>, Map<String, Integer>> {
  static int count = 0;
  public Map<String, Integer> handleRequest(Map<String, Object> event, Context context) {
    return Map.of("count", ++count);
  }
}`
const SERVER = `package bench;
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
public class Server {
  static int count = 0;
  public static void main(String[] args) throws Exception {
    HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(System.getenv("PORT"))), 0);
    server.createContext("/", exchange -> {
      byte[] body = ("{\\"count\\":" + ++count + "}").getBytes();
      exchange.sendResponseHeaders(200, body.length);
      exchange.getResponseBody().write(body);
      exchange.close();
    });
    server.start();
  }
}`

export interface JavaApp extends AsyncDisposable {
  readonly handler: string
  readonly files: Files
  readonly server: RuncApp
}

const { signal } = new AbortController()

/** Compiles both, and mounts the runtime's disks for runc; the caller disposes it. */
export const openJava = async (disks: RuntimeDisks): Promise<JavaApp> => {
  await using opened = new AsyncDisposableStack()
  const classes = opened.use(await compileJava(disks, { "Count.java": HANDLER, "Server.java": SERVER }))
  const place = await mkdtemp(join(tmpdir(), "torpor-bench-java-"))
  opened.defer(() => rm(place, { recursive: true, force: true }))
  const mount = async (disk: string, name: string): Promise<string> => {
    const to = join(place, name)
    await mkdir(to)
    await runCommand("mount", ["-o", "ro,loop", disk, to], { signal })
    opened.defer(() => runCommand("umount", [to], { signal }).then(() => {}))
    return to
  }
  const system = await mount(disks.rootDisk, "root")
  const drive = await mount(disks.runtimeDisk, "drive")
  const names = (await readdir(classes.path, { recursive: true })).filter((name) => name.endsWith(".class"))
  const contents = await Promise.all(names.map((name) => readFile(join(classes.path, name))))
  const held = opened.move()
  return {
    handler: "bench.Count",
    files: Object.fromEntries(names.map((name, index) => [name, contents[index] ?? ""])),
    server: {
      argv: ["/lang/bin/java", "-cp", "/classes", "bench.Server"],
      files: {},
      binds: { "/lang": join(drive, "lang"), "/classes": classes.path },
      system,
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}
