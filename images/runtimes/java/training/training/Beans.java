package training;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import java.util.List;
import java.util.Map;

/** A function that is none: what it does is what most do, so that a runtime which has run it has all of that behind it. */
public class Beans implements RequestHandler<Beans.Event, Beans.Answer> {
  public static class Event {
    private int n;
    private List<String> names = List.of();

    public int getN() {
      return n;
    }

    public void setN(int n) {
      this.n = n;
    }

    public List<String> getNames() {
      return names;
    }

    public void setNames(List<String> names) {
      this.names = names;
    }
  }

  public record Answer(int statusCode, Map<String, String> headers, String body) {}

  @Override
  public Answer handleRequest(Event event, Context context) {
    System.out.println("event " + event.getN() + ", left " + context.getRemainingTimeInMillis());
    context.getLogger().log(String.format("%d names", event.getNames().size()));
    return new Answer(200, Map.of("content-type", "application/json"), "{\"n\":" + event.getN() + "}");
  }
}
