package torpor.serving;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.CustomPojoSerializer;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import com.amazonaws.services.lambda.runtime.RequestStreamHandler;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.Type;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Iterator;
import java.util.List;
import java.util.ServiceLoader;

/** From a handler's name to what it names. */
final class Handlers {
  private static final String OF_INTERFACES = "handleRequest";
  /** Where no class says another. */
  private static final String BAD_HANDLER = "java.lang.IllegalArgumentException";

  private Handlers() {}

  /** Finds {@code package.Class} or {@code package.Class::method}, and makes its object; throws a {@link Fault}, or what its class threw. */
  static Handler load(String name, ClassLoader loader, Json json) throws Throwable {
    String[] parts = name.split("::", -1);
    if (parts.length > 2 || Arrays.asList(parts).contains(""))
      throw new Fault(BAD_HANDLER, "Invalid handler: `" + name + "'");
    Class<?> type = classOf(parts[0], loader);
    Binding binding = bindingFor(loader, json);
    boolean isOfInterface = parts.length == 1 || parts[1].equals(OF_INTERFACES);
    if (isOfInterface && RequestStreamHandler.class.isAssignableFrom(type))
      return streaming((RequestStreamHandler) make(type));
    if (isOfInterface && RequestHandler.class.isAssignableFrom(type))
      return ofInterface((RequestHandler<?, ?>) make(type), json.typesOf(type, RequestHandler.class), binding);
    if (parts.length == 1)
      throw new Fault(BAD_HANDLER, "Class " + type.getName() + " does not implement an appropriate handler interface");
    return ofMethod(type, methodOf(type, parts[1]), binding);
  }

  private static Class<?> classOf(String name, ClassLoader loader) throws Fault {
    try {
      return Class.forName(name, true, loader);
    } catch (ClassNotFoundException e) {
      throw new Fault(e.getClass().getName(), "Class not found: " + name, e);
    }
  }

  private static Object make(Class<?> type) throws Throwable {
    try {
      return type.getConstructor().newInstance();
    } catch (NoSuchMethodException e) {
      throw new Fault(e.getClass().getName(), "Class " + type.getName() + " has no public zero-argument constructor", e);
    } catch (InvocationTargetException e) {
      throw e.getCause();
    }
  }

  private static Binding bindingFor(ClassLoader loader, Json json) {
    Iterator<CustomPojoSerializer> own = ServiceLoader.load(CustomPojoSerializer.class, loader).iterator();
    return own.hasNext() ? Binding.of(own.next()) : json;
  }

  private static Handler streaming(RequestStreamHandler handler) {
    return (event, context) -> {
      ByteArrayOutputStream out = new ByteArrayOutputStream();
      handler.handleRequest(new ByteArrayInputStream(event), out, context);
      return out.toByteArray();
    };
  }

  private static Handler ofInterface(RequestHandler<?, ?> handler, Type[] types, Binding binding) {
    @SuppressWarnings("unchecked")
    RequestHandler<Object, Object> of = (RequestHandler<Object, Object>) handler;
    return (event, context) -> binding.write(of.handleRequest(binding.read(event, types[0]), context), types[1]);
  }

  private static Handler ofMethod(Class<?> type, Method method, Binding binding) throws Throwable {
    Object target = Modifier.isStatic(method.getModifiers()) ? null : make(type);
    Class<?>[] kinds = method.getParameterTypes();
    Type[] types = method.getGenericParameterTypes();
    boolean writes = List.of(kinds).contains(OutputStream.class);
    return (event, context) -> {
      ByteArrayOutputStream out = new ByteArrayOutputStream();
      Object[] arguments = new Object[kinds.length];
      for (int i = 0; i < kinds.length; i++) {
        if (kinds[i] == Context.class) arguments[i] = context;
        else if (kinds[i] == InputStream.class) arguments[i] = new ByteArrayInputStream(event);
        else if (kinds[i] == OutputStream.class) arguments[i] = out;
        else arguments[i] = binding.read(event, types[i]);
      }
      Object result = method.invoke(target, arguments);
      return writes ? out.toByteArray() : binding.write(result, method.getGenericReturnType());
    };
  }

  /** Of several that fit, the one with a context, and then that with more parameters. */
  private static Method methodOf(Class<?> type, String name) {
    return Arrays.stream(type.getMethods())
        .filter(method -> method.getName().equals(name) && !method.isBridge() && fits(method.getParameterTypes()))
        .max(Comparator.comparing(Handlers::hasContext).thenComparing(Method::getParameterCount))
        .orElseThrow(
            () ->
                new Fault(
                    NoSuchMethodException.class.getName(),
                    "No public method named " + name + " with appropriate method signature found on class " + type.getName()));
  }

  private static boolean hasContext(Method method) {
    return List.of(method.getParameterTypes()).contains(Context.class);
  }

  /** An event, or streams of bytes, or nothing; and a context behind it. */
  private static boolean fits(Class<?>[] kinds) {
    List<Class<?>> all = List.of(kinds);
    int context = all.indexOf(Context.class);
    if (context >= 0 && context != all.size() - 1) return false;
    List<Class<?>> others = context < 0 ? all : all.subList(0, context);
    return others.size() <= 1 || others.equals(List.of(InputStream.class, OutputStream.class));
  }
}
