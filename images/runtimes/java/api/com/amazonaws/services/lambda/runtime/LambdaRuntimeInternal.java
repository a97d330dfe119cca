package com.amazonaws.services.lambda.runtime;

/** What the runtime and appenders of logging libraries agree on. */
public final class LambdaRuntimeInternal {
  private static volatile boolean isAppenderUsed;

  private LambdaRuntimeInternal() {}

  public static void setLogger(LambdaLogger logger) {
    LambdaRuntime.setLogger(logger);
  }

  public static void setUseLog4jAppender(boolean isUsed) {
    isAppenderUsed = isUsed;
  }

  public static boolean getUseLog4jAppender() {
    return isAppenderUsed;
  }
}
