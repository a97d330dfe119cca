package torpor.serving;

import com.amazonaws.services.lambda.runtime.CustomPojoSerializer;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.lang.reflect.Type;

/** How a function's objects come from JSON, and become JSON. */
interface Binding {
  Object read(byte[] event, Type type);

  byte[] write(Object value, Type type);

  /** A function's own way. */
  static Binding of(CustomPojoSerializer own) {
    return new Binding() {
      @Override
      public Object read(byte[] event, Type type) {
        return own.fromJson(new ByteArrayInputStream(event), type);
      }

      @Override
      public byte[] write(Object value, Type type) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        own.toJson(value, out, type);
        return out.toByteArray();
      }
    };
  }
}
