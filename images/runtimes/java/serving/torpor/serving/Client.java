package torpor.serving;

import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.Socket;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;

/** The Runtime API as its client: HTTP/1.1 over one connection. */
final class Client implements Closeable {
  private static final String BASE = "/2018-06-01/runtime/";

  /** An event's headers, by their names in lower case, and its bytes. */
  record Event(Map<String, String> headers, byte[] payload) {}

  private final String address;
  private final Socket socket;
  private final InputStream in;
  private final OutputStream out;

  Client(String address) throws IOException {
    this.address = address;
    int colon = address.lastIndexOf(':');
    socket = new Socket(address.substring(0, colon), Integer.parseInt(address.substring(colon + 1)));
    socket.setTcpNoDelay(true);
    in = new BufferedInputStream(socket.getInputStream());
    out = socket.getOutputStream();
  }

  Event next() throws IOException {
    return ask("GET", "invocation/next", "", null);
  }

  void respond(String requestId, byte[] body) throws IOException {
    ask("POST", "invocation/" + encode(requestId) + "/response", "", body);
  }

  /** {@code where} is {@code init}, {@code restore}, or an invocation's id. */
  void fail(String where, String type, byte[] body) throws IOException {
    String path = where.equals("init") || where.equals("restore") ? where : "invocation/" + encode(where);
    String header = type.replaceAll("[^ -~]", "?");
    ask("POST", path + "/error", "Lambda-Runtime-Function-Error-Type: " + header + "\r\n", body);
  }

  /** Returns when the environment has been restored from its snapshot, with the variables that are others now, as JSON or nothing. */
  byte[] restored() throws IOException {
    return ask("GET", "restore/next", "", null).payload();
  }

  private static String encode(String id) {
    return URLEncoder.encode(id, StandardCharsets.UTF_8);
  }

  private Event ask(String method, String path, String headers, byte[] body) throws IOException {
    String content =
        body == null ? "" : "Content-Type: application/json\r\nContent-Length: " + body.length + "\r\n";
    String head = method + " " + BASE + path + " HTTP/1.1\r\nHost: " + address + "\r\n" + headers + content + "\r\n";
    byte[] start = head.getBytes(StandardCharsets.ISO_8859_1);
    if (body == null) {
      out.write(start);
    } else {
      byte[] whole = new byte[start.length + body.length];
      System.arraycopy(start, 0, whole, 0, start.length);
      System.arraycopy(body, 0, whole, start.length, body.length);
      out.write(whole);
    }
    return hear(method + " " + path);
  }

  private Event hear(String question) throws IOException {
    String status = line();
    Map<String, String> headers = new HashMap<>();
    for (String line = line(); !line.isEmpty(); line = line()) {
      int colon = line.indexOf(':');
      if (colon > 0) headers.put(line.substring(0, colon).toLowerCase(Locale.ROOT), line.substring(colon + 1).strip());
    }
    byte[] body = "chunked".equalsIgnoreCase(headers.get("transfer-encoding"))
        ? chunks()
        : exactly(Integer.parseInt(headers.getOrDefault("content-length", "0")));
    boolean isEvent = question.startsWith("GET");
    // What was answered too late, or is too large, is told to the function's caller by who refuses it.
    if (isEvent && !status.startsWith("HTTP/1.1 200"))
      throw new IllegalStateException(question + " was refused: " + new String(body, StandardCharsets.UTF_8));
    return new Event(headers, body);
  }

  private byte[] chunks() throws IOException {
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    for (;;) {
      int bytes = Integer.parseInt(line().split(";", 2)[0].strip(), 16);
      all.write(exactly(bytes));
      if (bytes == 0) break;
      line();
    }
    while (!line().isEmpty()) {}
    return all.toByteArray();
  }

  private byte[] exactly(int bytes) throws IOException {
    byte[] read = in.readNBytes(bytes);
    if (read.length < bytes) throw new EOFException("The Runtime API ended its answer");
    return read;
  }

  /** A header's bytes are UTF-8. */
  private String line() throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream(128);
    for (;;) {
      int next = in.read();
      if (next < 0) throw new EOFException("The Runtime API has gone");
      if (next == '\n') break;
      if (next != '\r') bytes.write(next);
    }
    return bytes.toString(StandardCharsets.UTF_8);
  }

  @Override
  public void close() throws IOException {
    socket.close();
  }
}
