package torpor.serving;

import java.io.Closeable;
import java.io.IOException;
import java.io.OutputStream;
import java.net.HttpURLConnection;
import java.net.Proxy;
import java.net.URI;

/** What the runtime asks of the agent and tells it: events by a channel, all else by the Runtime API. */
final class Client implements Closeable {
  private final String address;
  private final Json json;
  private Channel channel;

  Client(String address, Json json) {
    this.address = address;
    this.json = json;
  }

  Channel.Event next() throws IOException {
    return open().next();
  }

  /** Returns when the environment has been restored from its snapshot, with the variables that are others now, as JSON. */
  byte[] restored() throws IOException {
    return open().restored();
  }

  /** Answers the event in progress. */
  void respond(byte[] body) throws IOException {
    channel.respond(body);
  }

  /** The event in progress; {@code isLast}: the process ends itself. */
  void fail(String type, byte[] body, boolean isLast) throws IOException {
    channel.fail(headerOf(type), body, isLast);
  }

  /** {@code phase} is {@code init} or {@code restore}. */
  void failPhase(String phase, String type, byte[] body) throws IOException {
    URI error = URI.create("http://" + address + "/2018-06-01/runtime/" + phase + "/error");
    HttpURLConnection request = (HttpURLConnection) error.toURL().openConnection(Proxy.NO_PROXY);
    request.setRequestMethod("POST");
    request.setRequestProperty("Content-Type", "application/json");
    request.setRequestProperty("Lambda-Runtime-Function-Error-Type", headerOf(type));
    request.setDoOutput(true);
    try (OutputStream out = request.getOutputStream()) {
      out.write(body);
    }
    request.getResponseCode();
  }

  private Channel open() throws IOException {
    if (channel != null) return channel;
    int colon = address.lastIndexOf(':');
    return channel = new Channel(address.substring(0, colon), Integer.parseInt(address.substring(colon + 1)), json);
  }

  private static String headerOf(String text) {
    return text.replaceAll("[^ -~]", "?");
  }

  @Override
  public void close() throws IOException {
    if (channel != null) channel.close();
  }
}
