package torpor.serving;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.lang.reflect.InvocationTargetException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** An error as callers of AWS read it, and as the log has it. */
record Failure(String message, String type, Throwable thrown) {
  private static final String OWN = Failure.class.getPackageName() + ".";

  static Failure of(Throwable thrown) {
    if (thrown instanceof Fault fault) return new Failure(fault.getMessage(), fault.type, fault.getCause());
    Throwable own = thrown instanceof InvocationTargetException && thrown.getCause() != null ? thrown.getCause() : thrown;
    trim(own, Collections.newSetFromMap(new IdentityHashMap<>()));
    return new Failure(messageOf(own), own.getClass().getName(), own);
  }

  /** What a caller gets. */
  Map<String, Object> body() {
    if (thrown != null && type.equals(thrown.getClass().getName()) && message.equals(messageOf(thrown)))
      return bodyOf(thrown, Collections.newSetFromMap(new IdentityHashMap<>()));
    Map<String, Object> body = new LinkedHashMap<>();
    body.put("errorMessage", message);
    body.put("errorType", type);
    return body;
  }

  /** What the log gets. */
  String text() {
    StringWriter trace = new StringWriter();
    if (thrown != null) thrown.printStackTrace(new PrintWriter(trace, true));
    return message + ": " + type + "\n" + trace;
  }

  private static Map<String, Object> bodyOf(Throwable thrown, Set<Throwable> seen) {
    Map<String, Object> body = new LinkedHashMap<>();
    body.put("errorMessage", messageOf(thrown));
    body.put("errorType", thrown.getClass().getName());
    List<String> trace = new ArrayList<>();
    for (StackTraceElement frame : thrown.getStackTrace()) trace.add(frame.toString());
    body.put("stackTrace", trace);
    if (seen.add(thrown) && thrown.getCause() != null && !seen.contains(thrown.getCause()))
      body.put("cause", bodyOf(thrown.getCause(), seen));
    return body;
  }

  private static String messageOf(Throwable thrown) {
    String message = thrown.getLocalizedMessage();
    return message == null ? thrown.getClass().getName() : message;
  }

  /** The frames of the runtime are not the function's. */
  private static void trim(Throwable thrown, Set<Throwable> seen) {
    if (thrown == null || !seen.add(thrown)) return;
    StackTraceElement[] frames = thrown.getStackTrace();
    for (int i = 0; i < frames.length; i++) {
      if (frames[i].getClassName().startsWith(OWN)) {
        thrown.setStackTrace(java.util.Arrays.copyOf(frames, i));
        break;
      }
    }
    trim(thrown.getCause(), seen);
  }
}
