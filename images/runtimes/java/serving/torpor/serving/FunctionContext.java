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
  private final Map<String, Object> about;
  private final LambdaLogger logger;
  private final long deadlineMs;
  private final CognitoIdentity identity;
  private final ClientContext clientContext;

  FunctionContext(Channel.Event event, LambdaLogger logger, Json json) throws IOException {
    this.about = event.about();
    this.logger = logger;
    deadlineMs = ((Number) about.get("deadlineMs")).longValue();
    Map<String, Object> known = objectIn("cognitoIdentity", json);
    identity = new FunctionIdentity(known);
    Map<String, Object> client = objectIn("clientContext", json);
    clientContext = client == null ? null : new FunctionClientContext(client);
  }

  private String textIn(String name) {
    return (String) about.get(name);
  }

  private Map<String, Object> objectIn(String name, Json json) throws IOException {
    String text = textIn(name);
    return text == null || text.isEmpty() ? null : json.mapOf(text.getBytes(StandardCharsets.UTF_8));
  }

  @Override
  public String getAwsRequestId() {
    return textIn("requestId");
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
    return textIn("functionArn");
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
    return textIn("tenantId");
  }

  @Override
  public String getXrayTraceId() {
    return textIn("traceId");
  }
}
