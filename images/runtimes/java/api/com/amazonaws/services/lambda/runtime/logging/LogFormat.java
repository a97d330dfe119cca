package com.amazonaws.services.lambda.runtime.logging;

import java.util.Locale;

public enum LogFormat {
  JSON,
  TEXT;

  /** Whatever its case; throws an {@link IllegalArgumentException} where there is no such format. */
  public static LogFormat fromString(String format) {
    return valueOf(format.toUpperCase(Locale.ROOT));
  }
}
