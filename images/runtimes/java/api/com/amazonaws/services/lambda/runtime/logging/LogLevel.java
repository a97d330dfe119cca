package com.amazonaws.services.lambda.runtime.logging;

import java.util.Locale;

public enum LogLevel {
  UNDEFINED,
  TRACE,
  DEBUG,
  INFO,
  WARN,
  ERROR,
  FATAL;

  /** Whatever its case; throws an {@link IllegalArgumentException} where there is no such level. */
  public static LogLevel fromString(String level) {
    return valueOf(level.toUpperCase(Locale.ROOT));
  }
}
