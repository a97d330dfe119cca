package torpor.runtime;

import java.io.File;
import java.net.URL;
import java.net.URLClassLoader;
import java.util.ArrayList;
import java.util.List;

/** The start of the runtime. What serves functions has a class path of its own, so that none of it is in a function's way. */
public final class Main {
  private Main() {}

  public static void main(String[] arguments) throws Exception {
    File directory = new File(System.getenv("LAMBDA_RUNTIME_DIR"), "lib/serving");
    List<URL> path = new ArrayList<>();
    path.add(directory.toURI().toURL());
    for (File file : directory.listFiles((parent, name) -> name.endsWith(".jar"))) path.add(file.toURI().toURL());
    ClassLoader loader = new URLClassLoader(path.toArray(URL[]::new), Main.class.getClassLoader());
    Main.class.getModule().addExports(Main.class.getPackageName(), loader.getUnnamedModule());
    Runnable serving = (Runnable) loader.loadClass("torpor.serving.Serving").getConstructor().newInstance();
    serving.run();
  }
}
