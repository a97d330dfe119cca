package com.amazonaws.services.lambda.runtime;

/** The log for those who have no context. */
public final class LambdaRuntime {
  private static volatile LambdaLogger logger;

  private LambdaRuntime() {}

  public static LambdaLogger getLogger() {
    return logger;
  }

  static void setLogger(LambdaLogger given) {
    logger = given;
  }
}
