package torpor.serving;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.Map;

/**
 * What a runtime is told on its standard input that was started before there is a function for it, by one line of JSON. First, any number
 * of times, it is trained by functions that are none.
 */
final class Assignment {
  private static final int CHUNK_BYTES = 64 * 1024;

  /** All of its environment. */
  final Map<String, String> env;
  final String cwd;
  /** Another follows. */
  final boolean isTraining;

  @SuppressWarnings("unchecked")
  private Assignment(Map<String, Object> told) {
    env = (Map<String, String>) told.get("env");
    cwd = (String) told.get("cwd");
    isTraining = (Boolean) told.get("isTraining");
  }

  /** Waits for the next; {@code null} when there is nobody who could tell it. */
  static Assignment read(InputStream in, Json json) throws IOException {
    ByteArrayOutputStream line = new ByteArrayOutputStream();
    byte[] chunk = new byte[CHUNK_BYTES];
    for (;;) {
      int bytes = in.read(chunk);
      if (bytes < 0) return null;
      line.write(chunk, 0, bytes);
      if (chunk[bytes - 1] == '\n') return new Assignment(json.mapOf(line.toByteArray()));
    }
  }
}
