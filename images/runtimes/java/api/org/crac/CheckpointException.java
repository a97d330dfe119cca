package org.crac;

/** Why resources failed: each reason is a suppressed exception. */
public class CheckpointException extends Exception {
  private static final long serialVersionUID = 1;

  public CheckpointException() {}

  public CheckpointException(String message) {
    super(message);
  }
}
