package training;

import com.amazonaws.services.lambda.runtime.Context;
import java.util.LinkedHashMap;
import java.util.Map;

/** As {@link Beans}, the other kind. */
public class Maps {
  public Map<String, Object> handle(Map<String, Object> event, Context context) {
    Map<String, Object> answer = new LinkedHashMap<>();
    answer.put("statusCode", 200);
    answer.put("body", event.toString());
    return answer;
  }
}
