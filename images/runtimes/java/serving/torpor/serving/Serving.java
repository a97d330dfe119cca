package torpor.serving;

import com.amazonaws.services.lambda.runtime.LambdaRuntimeInternal;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOError;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import org.crac.Core;
import torpor.runtime.Machine;
import torpor.runtime.Randomness;

/** The runtime of Java functions: takes events, calls the handler, and answers, until it is ended. */
public final class Serving implements Runnable {
  private static final String WAITING = "_TORPOR_WAITING";
  private static final int INIT_EXIT = 1;
  private static final int RESTORE_EXIT = 64;
  private static final int FATAL_EXIT = 1;
  /** The property that X-Ray's SDK for Java reads. */
  private static final String TRACE = "com.amazonaws.xray.traceHeader";

  private final Json json = new Json();

  /** Its environment says whether it has its function already, or is to wait for it. */
  @Override
  public void run() {
    try {
      if (System.getenv(WAITING) == null) serve();
      Machine.prepare();
      FileInputStream told = new FileInputStream(FileDescriptor.in);
      for (;;) {
        Assignment assignment = Assignment.read(told, json);
        // Nobody will ever tell it.
        if (assignment == null) System.exit(0);
        Machine.become(assignment.env, assignment.cwd, !assignment.isTraining);
        if (assignment.isTraining) {
          train();
        } else {
          Randomness.reseed();
          serve();
        }
      }
    } catch (Throwable thrown) {
      thrown.printStackTrace();
      System.exit(FATAL_EXIT);
    }
  }

  /** Serves the function of the environment until the process ends. Each thing that a function prints is in its log before its answer is given. */
  private void serve() throws IOException {
    PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8);
    System.setOut(out);
    System.setErr(new PrintStream(new FileOutputStream(FileDescriptor.err), false, StandardCharsets.UTF_8));
    try (Client client = new Client(System.getenv("AWS_LAMBDA_RUNTIME_API"), json)) {
      Log log = new Log(out, System.getenv(), json);
      Handler handler = load(client, log);
      passSnapshot(client, log);
      for (;;) answer(client, log, handler, client.next());
    }
  }

  /** Until there is nobody any more who gives events, and silently. */
  private void train() {
    PrintStream out = System.out;
    PrintStream silent = new PrintStream(OutputStream.nullOutputStream(), false, StandardCharsets.UTF_8);
    System.setOut(silent);
    try (Client client = new Client(System.getenv("AWS_LAMBDA_RUNTIME_API"), json)) {
      Log log = new Log(silent, System.getenv(), json);
      Handler handler = load(client, log);
      passSnapshot(client, log);
      for (;;) answer(client, log, handler, client.next());
    } catch (IOException over) {
      LambdaRuntimeInternal.setLogger(null);
      Thread.currentThread().setContextClassLoader(Serving.class.getClassLoader());
      System.clearProperty(TRACE);
      System.setOut(out);
      // What it has left behind is in no snapshot.
      System.gc();
    }
  }

  private Handler load(Client client, Log log) throws IOException {
    LambdaRuntimeInternal.setLogger(log);
    try {
      return Handlers.load(System.getenv("_HANDLER"), FunctionClassLoader.of(System.getenv("LAMBDA_TASK_ROOT")), json);
    } catch (Throwable thrown) {
      end(client, log, "init", thrown, INIT_EXIT);
      throw new AssertionError("It has ended", thrown);
    }
  }

  /** At once where there is none. */
  private void passSnapshot(Client client, Log log) throws IOException {
    if (!"snap-start".equals(System.getenv("AWS_LAMBDA_INITIALIZATION_TYPE"))) return;
    try {
      Core.getGlobalContext().beforeCheckpoint(null);
    } catch (Throwable thrown) {
      end(client, log, "init", thrown, RESTORE_EXIT);
    }
    byte[] told = client.restored();
    try {
      Machine.change(json.textsOf(told));
      Randomness.reseed();
      Core.getGlobalContext().afterRestore(null);
    } catch (Throwable thrown) {
      end(client, log, "restore", thrown, RESTORE_EXIT);
    }
  }

  private void end(Client client, Log log, String phase, Throwable thrown, int exitCode) throws IOException {
    Failure failure = Failure.of(thrown);
    log.failure(failure);
    client.failPhase(phase, failure.type(), json.bytesOf(failure.body()));
    System.exit(exitCode);
  }

  private void answer(Client client, Log log, Handler handler, Channel.Event event) throws IOException {
    FunctionContext context = new FunctionContext(event, log, json);
    log.context(context);
    if (context.getXrayTraceId() == null) System.clearProperty(TRACE);
    else System.setProperty(TRACE, context.getXrayTraceId());
    byte[] response;
    try {
      response = handler.handle(event.payload(), context);
    } catch (Throwable thrown) {
      Failure failure = Failure.of(thrown);
      log.failure(failure);
      // Of a machine in such a state nothing more can be expected.
      boolean isLast = thrown instanceof VirtualMachineError || thrown instanceof IOError;
      client.fail(failure.type(), json.bytesOf(failure.body()), isLast);
      if (isLast) System.exit(FATAL_EXIT);
      return;
    }
    client.respond(response);
  }
}
