package torpor.serving;

import com.amazonaws.services.lambda.runtime.Context;

/** A function's handler, whichever form it has: from an event's bytes to those of the answer. */
interface Handler {
  byte[] handle(byte[] event, Context context) throws Throwable;
}
