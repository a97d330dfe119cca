package org.crac;

/** Snapshots of this process. When one is taken is the environment's to say. */
public final class Core {
  private static final Context<Resource> GLOBAL = new OrderedContext();

  private Core() {}

  public static Context<Resource> getGlobalContext() {
    return GLOBAL;
  }

  public static void checkpointRestore() throws CheckpointException, RestoreException {
    throw new UnsupportedOperationException("A snapshot is taken when its function is published, and not by the function");
  }
}
