package torpor.serving;

/** What keeps a function from being run, in the platform's words. */
final class Fault extends RuntimeException {
  private static final long serialVersionUID = 1;

  /** What callers see as the error's type. */
  final String type;

  Fault(String type, String message) {
    this(type, message, null);
  }

  Fault(String type, String message, Throwable cause) {
    super(message, cause);
    this.type = type;
  }
}
