package torpor.runtime;

import java.lang.reflect.Constructor;
import java.lang.reflect.Field;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Map;
import java.util.TimeZone;

/** What is so from a process's start to its end, made another, for a runtime that was started before there was a function for it. */
public final class Machine {
  private Machine() {}

  /** Loads what {@link #become} needs. */
  @SuppressWarnings("restricted")
  public static void prepare() {
    System.load(Path.of(System.getenv("LAMBDA_RUNTIME_DIR"), "libbecome.so").toString());
  }

  /** It has these variables and no others; the last time also that working directory, and nothing on its standard input. */
  public static void become(Map<String, String> variables, String directory, boolean isLast) throws ReflectiveOperationException {
    StringBuilder all = new StringBuilder();
    variables.forEach((name, value) -> all.append(name).append('=').append(value).append('\0'));
    if (!enter(bytesOf(directory), bytesOf(all.toString()), isLast))
      throw new IllegalStateException("The runtime cannot be in " + directory);
    Map<String, String> known = environment();
    known.clear();
    known.putAll(variables);
    System.clearProperty("user.timezone");
    TimeZone.setDefault(null);
  }

  /** These variables are others, for Java and what it starts. */
  public static void change(Map<String, String> variables) throws ReflectiveOperationException {
    environment().putAll(variables);
  }

  private static native boolean enter(byte[] directory, byte[] variables, boolean isLast);

  private static byte[] bytesOf(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  /** What {@link System#getenv} reads, to be written. */
  @SuppressWarnings("unchecked")
  private static Map<String, String> environment() throws ReflectiveOperationException {
    Field variables = Class.forName("java.lang.ProcessEnvironment").getDeclaredField("theEnvironment");
    variables.setAccessible(true);
    Constructor<?> view = Class.forName("java.lang.ProcessEnvironment$StringEnvironment").getDeclaredConstructor(Map.class);
    view.setAccessible(true);
    return (Map<String, String>) view.newInstance(variables.get(null));
  }
}
