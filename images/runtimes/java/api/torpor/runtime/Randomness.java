package torpor.runtime;

import java.io.FileInputStream;
import java.io.IOException;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.util.Collections;
import java.util.Random;
import java.util.SplittableRandom;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.atomic.AtomicLong;

/**
 * What a process knows of randomness is in its memory, and so in every process that comes from its snapshot: the kernel's is other in
 * each, this makes the process's own so, too. {@link java.security.SecureRandom} asks the kernel each time.
 */
public final class Randomness {
  private static final int WORDS = 5;

  private Randomness() {}

  /** Of all that takes its seed by itself; who has given one to a generator keeps it. */
  public static void reseed() throws ReflectiveOperationException, IOException {
    ByteBuffer fresh = fresh();
    counter(ThreadLocalRandom.class, "seeder").set(fresh.getLong());
    counter(Random.class, "seedUniquifier").set(fresh.getLong());
    counter(SplittableRandom.class, "defaultGen").set(fresh.getLong());
    Method local = ThreadLocalRandom.class.getDeclaredMethod("localInit");
    local.setAccessible(true);
    local.invoke(null);
    Field shuffling = Collections.class.getDeclaredField("r");
    shuffling.setAccessible(true);
    shuffling.set(null, new Random(fresh.getLong()));
    Field ofMath = Class.forName("java.lang.Math$RandomNumberGeneratorHolder").getDeclaredField("randomNumberGenerator");
    ofMath.setAccessible(true);
    ((Random) ofMath.get(null)).setSeed(fresh.getLong());
  }

  private static ByteBuffer fresh() throws IOException {
    try (FileInputStream kernel = new FileInputStream("/dev/urandom")) {
      return ByteBuffer.wrap(kernel.readNBytes(WORDS * Long.BYTES));
    }
  }

  private static AtomicLong counter(Class<?> type, String name) throws ReflectiveOperationException {
    Field field = type.getDeclaredField(name);
    field.setAccessible(true);
    return (AtomicLong) field.get(null);
  }
}
