package torpor.serving;

import com.fasterxml.jackson.annotation.JsonFormat;
import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JavaType;
import com.fasterxml.jackson.databind.MapperFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.introspect.Annotated;
import com.fasterxml.jackson.databind.introspect.AnnotatedClass;
import com.fasterxml.jackson.databind.introspect.NopAnnotationIntrospector;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.reflect.Type;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * JSON by Jackson, which a function doesn't see: a Jackson of its own is another. Beans are read and written by their getters, setters and
 * public fields, whatever annotations they have.
 */
final class Json implements Binding {
  private static final byte[] NULL = {'n', 'u', 'l', 'l'};
  /** The library of AWS's own events, whose properties are not named as their JSON is. */
  private static final String EVENTS = "com.amazonaws.services.lambda.runtime.events.";

  private final ObjectMapper mapper =
      JsonMapper.builder()
          .annotationIntrospector(new Events())
          .defaultPropertyInclusion(
              // Of a bean, but not of a map.
              JsonInclude.Value.construct(JsonInclude.Include.NON_NULL, JsonInclude.Include.ALWAYS))
          .enable(MapperFeature.USE_STD_BEAN_NAMING)
          .disable(SerializationFeature.FAIL_ON_EMPTY_BEANS)
          .disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
          .enable(DeserializationFeature.ACCEPT_EMPTY_STRING_AS_NULL_OBJECT)
          .enable(DeserializationFeature.ACCEPT_SINGLE_VALUE_AS_ARRAY)
          .enable(DeserializationFeature.READ_UNKNOWN_ENUM_VALUES_AS_NULL)
          .build();

  @Override
  public Object read(byte[] event, Type type) {
    try {
      return mapper.readValue(event, mapper.constructType(type));
    } catch (IOException e) {
      throw new RuntimeException("An error occurred during JSON parsing", new UncheckedIOException(e));
    }
  }

  @Override
  public byte[] write(Object value, Type type) {
    if (value == null) return NULL;
    try {
      return mapper.writeValueAsBytes(value);
    } catch (JsonProcessingException e) {
      throw new RuntimeException("An error occurred during JSON serialization of response", new UncheckedIOException(e));
    }
  }

  /** What this class says of the parameters of one that it is a subclass of, or implements. */
  Type[] typesOf(Class<?> type, Class<?> generic) {
    JavaType[] types = mapper.getTypeFactory().findTypeParameters(mapper.constructType(type), generic);
    return new Type[] {types[0], types[1]};
  }

  byte[] bytesOf(Map<String, Object> body) {
    return write(body, Map.class);
  }

  /** Throws where it is no object, or no JSON. */
  @SuppressWarnings("unchecked")
  Map<String, Object> mapOf(byte[] text) throws IOException {
    return mapper.readValue(text, LinkedHashMap.class);
  }

  Map<String, String> textsOf(byte[] text) throws IOException {
    return mapper.readValue(text, mapper.getTypeFactory().constructMapType(LinkedHashMap.class, String.class, String.class));
  }

  private static final class Events extends NopAnnotationIntrospector {
    private static final long serialVersionUID = 1;

    @Override
    public JsonFormat.Value findFormat(Annotated member) {
      if (!(member instanceof AnnotatedClass) || !member.getRawType().getName().startsWith(EVENTS)) return null;
      return JsonFormat.Value.empty().withFeature(JsonFormat.Feature.ACCEPT_CASE_INSENSITIVE_PROPERTIES);
    }
  }
}
