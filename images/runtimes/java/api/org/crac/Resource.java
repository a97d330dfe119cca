package org.crac;

/** Hears of a snapshot before it is taken, and after the process has been restored from it. */
public interface Resource {
  void beforeCheckpoint(Context<? extends Resource> context) throws Exception;

  void afterRestore(Context<? extends Resource> context) throws Exception;
}
