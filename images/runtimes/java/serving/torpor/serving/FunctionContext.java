package torpor.serving;

import com.amazonaws.services.lambda.runtime.ClientContext;
import com.amazonaws.services.lambda.runtime.CognitoIdentity;
import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.LambdaLogger;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/** What a handler is told of its invocation beside the event. */
final class FunctionContext implements Context {
  private final Map<String, String> headers;
  private final LambdaLogger logger;
  private final long deadlineMs;
  private final CognitoIdentity identity;
  private final ClientContext clientContext;

  FunctionContext(Client.Event event, LambdaLogger logger, Json json) throws IOException {
    this.headers = event.headers();
    this.logger = logger;
    deadlineMs = Long.parseLong(headers.getOrDefault("lambda-runtime-deadline-ms", "0"));
    Map<String, Object> known = objectIn("lambda-runtime-cognito-identity", json);
    identity = new FunctionIdentity(known);
    Map<String, Object> client = objectIn("lambda-runtime-client-context", json);
    clientContext = client == null ? null : new FunctionClientContext(client);
  }

  private Map<String, Object> objectIn(String header, Json json) throws IOException {
    String text = headers.get(header);
    return text == null || text.isEmpty() ? null : json.mapOf(text.getBytes(StandardCharsets.UTF_8));
  }

  @Override
  public String getAwsRequestId() {
    return headers.get("lambda-runtime-aws-request-id");
  }

  @Override
  public String getLogGroupName() {
    return System.getenv("AWS_LAMBDA_LOG_GROUP_NAME");
  }

  @Override
  public String getLogStreamName() {
    return System.getenv("AWS_LAMBDA_LOG_STREAM_NAME");
  }

  @Override
  public String getFunctionName() {
    return System.getenv("AWS_LAMBDA_FUNCTION_NAME");
  }

  @Override
  public String getFunctionVersion() {
    return System.getenv("AWS_LAMBDA_FUNCTION_VERSION");
  }

  @Override
  public String getInvokedFunctionArn() {
    return headers.get("lambda-runtime-invoked-function-arn");
  }

  @Override
  public CognitoIdentity getIdentity() {
    return identity;
  }

  @Override
  public ClientContext getClientContext() {
    return clientContext;
  }

  @Override
  public int getRemainingTimeInMillis() {
    return (int) Math.max(deadlineMs - System.currentTimeMillis(), 0);
  }

  @Override
  public int getMemoryLimitInMB() {
    return Integer.parseInt(System.getenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"));
  }

  @Override
  public LambdaLogger getLogger() {
    return logger;
  }

  @Override
  public String getTenantId() {
    return headers.get("lambda-runtime-aws-tenant-id");
  }

  @Override
  public String getXrayTraceId() {
    return headers.get("lambda-runtime-trace-id");
  }
}
