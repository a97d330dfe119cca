package torpor.serving;

import com.amazonaws.services.lambda.runtime.Context;
import java.io.File;
import java.net.MalformedURLException;
import java.net.URL;
import java.net.URLClassLoader;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Where a function's classes are looked for: what AWS declares comes first, then its code, its libraries, and those of its layers. */
final class FunctionClassLoader {
  private static final String LAYERS = "/opt/java";

  private FunctionClassLoader() {}

  static ClassLoader of(String root) throws MalformedURLException {
    List<URL> path = new ArrayList<>();
    path.add(new File(root).toURI().toURL());
    for (String directory : List.of(root, LAYERS)) {
      File[] jars = new File(directory, "lib").listFiles((parent, name) -> name.endsWith(".jar"));
      if (jars == null) continue;
      Arrays.sort(jars);
      for (File jar : jars) path.add(jar.toURI().toURL());
    }
    ClassLoader loader = new URLClassLoader(path.toArray(URL[]::new), Context.class.getClassLoader());
    Thread.currentThread().setContextClassLoader(loader);
    return loader;
  }
}
