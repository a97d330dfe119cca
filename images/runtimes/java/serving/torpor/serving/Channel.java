package torpor.serving;

import java.io.BufferedInputStream;
import java.io.Closeable;
import java.io.DataInputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/**
 * How events are taken and answered: on one connection to the agent, with one write each way for an event. What is said on it is in
 * images/agent/functions/runtime-channel.ts.
 */
final class Channel implements Closeable {
  private static final byte[] GREETING =
      "CONNECT torpor.runtime:1 HTTP/1.1\r\nHost: torpor.runtime:1\r\n\r\n".getBytes(StandardCharsets.US_ASCII);
  private static final int END_OF_GREETING = 0x0d0a0d0a;
  private static final int HEAD_BYTES = 5;
  private static final int MAX_TYPE_BYTES = 255;
  private static final byte[] NOTHING = {};

  /** What is known of an event, and its bytes. */
  record Event(Map<String, Object> about, byte[] payload) {}

  private final Json json;
  private final Socket socket;
  private final DataInputStream in;
  private final OutputStream out;
  private boolean isAsked;

  Channel(String host, int port, Json json) throws IOException {
    this.json = json;
    socket = new Socket(host, port);
    socket.setTcpNoDelay(true);
    in = new DataInputStream(new BufferedInputStream(socket.getInputStream()));
    out = socket.getOutputStream();
    out.write(GREETING);
    for (int last = 0; last != END_OF_GREETING; ) last = last << 8 | in.readUnsignedByte();
  }

  /** Asks for it, unless the answer to the last has done so. */
  Event next() throws IOException {
    if (!isAsked) send('N', NOTHING);
    isAsked = false;
    ByteBuffer frame = ByteBuffer.wrap(hear());
    byte[] about = new byte[frame.getInt()];
    frame.get(about);
    byte[] payload = new byte[frame.remaining()];
    frame.get(payload);
    return new Event(json.mapOf(about), payload);
  }

  /** Returns when the environment has been restored from its snapshot, with the variables that are others now, as JSON. */
  byte[] restored() throws IOException {
    send('S', NOTHING);
    return hear();
  }

  void respond(byte[] body) throws IOException {
    answer('R', body);
  }

  /** {@code isLast}: the process ends itself. */
  void fail(String type, byte[] body, boolean isLast) throws IOException {
    byte[] name = type.getBytes(StandardCharsets.UTF_8);
    int length = Math.min(name.length, MAX_TYPE_BYTES);
    byte[] content = new byte[1 + length + body.length];
    ByteBuffer.wrap(content).put((byte) length).put(name, 0, length).put(body);
    answer(isLast ? 'X' : 'E', content);
  }

  private void answer(char kind, byte[] content) throws IOException {
    send(kind, content);
    isAsked = true;
  }

  private void send(char kind, byte[] content) throws IOException {
    byte[] frame = new byte[HEAD_BYTES + content.length];
    ByteBuffer.wrap(frame).put((byte) kind).putInt(content.length).put(content);
    out.write(frame);
  }

  /** The content of the next frame; throws when there is nobody any more who sends one. */
  private byte[] hear() throws IOException {
    in.readUnsignedByte();
    byte[] content = new byte[in.readInt()];
    in.readFully(content);
    return content;
  }

  @Override
  public void close() throws IOException {
    socket.close();
  }
}
