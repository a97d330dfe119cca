package torpor.serving;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.LambdaLogger;
import com.amazonaws.services.lambda.runtime.logging.LogLevel;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.LinkedHashMap;
import java.util.Map;

/** A function's log, as it is on AWS: what it is given as it is, or JSON with its time, its level and the invocation it belongs to. */
final class Log implements LambdaLogger {
  private final PrintStream out;
  private final boolean isJson;
  private final LogLevel least;
  private final Json json;
  private volatile Context context;

  Log(PrintStream out, Map<String, String> env, Json json) {
    this.out = out;
    this.json = json;
    isJson = "JSON".equalsIgnoreCase(env.get("AWS_LAMBDA_LOG_FORMAT"));
    least = levelOf(env.getOrDefault("AWS_LAMBDA_LOG_LEVEL", "UNDEFINED"));
  }

  private static LogLevel levelOf(String name) {
    try {
      return LogLevel.fromString(name);
    } catch (IllegalArgumentException e) {
      return LogLevel.UNDEFINED;
    }
  }

  /** What is said from now on belongs to this invocation. */
  void context(Context given) {
    context = given;
  }

  void failure(Failure failure) {
    log(failure.text(), isJson ? LogLevel.ERROR : LogLevel.UNDEFINED);
  }

  @Override
  public void log(String message) {
    log(message, LogLevel.UNDEFINED);
  }

  @Override
  public void log(byte[] message) {
    log(message, LogLevel.UNDEFINED);
  }

  @Override
  public void log(byte[] message, LogLevel level) {
    log(message == null ? null : new String(message, StandardCharsets.UTF_8), level);
  }

  @Override
  public void log(String message, LogLevel level) {
    if (level != LogLevel.UNDEFINED && level.compareTo(least) < 0) return;
    String line = isJson ? structured(message, level) : level == LogLevel.UNDEFINED ? message : "[" + level + "] " + message;
    // It is one event of the log, whatever is in it.
    out.println(String.valueOf(line).stripTrailing().replace('\n', '\r'));
  }

  private String structured(String message, LogLevel level) {
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("timestamp", Instant.now().truncatedTo(ChronoUnit.MILLIS).toString());
    line.put("message", message);
    line.put("level", level.name());
    if (context != null) {
      line.put("AWSRequestId", context.getAwsRequestId());
      if (context.getTenantId() != null) line.put("tenantId", context.getTenantId());
    }
    return new String(json.bytesOf(line), StandardCharsets.UTF_8);
  }
}
