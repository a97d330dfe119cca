"""Errors as callers of AWS read them, and as the log has them."""

import decimal
import json
import os
import sys
import traceback

# Lines of a trace keep their indentation in viewers that cut blanks off.
_INDENT = "\u00a0\u00a0"
_RUNTIME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class _Encoder(json.JSONEncoder):
    def default(self, o):
        if isinstance(o, decimal.Decimal):
            return float(o)
        return super().default(o)


def to_json(value):
    return json.dumps(value, cls=_Encoder, ensure_ascii=False)


class Failure(Exception):
    """Why an init or an invocation failed. `kind` is what callers see as the error's type."""

    def __init__(self, kind, message, trace=()):
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.trace = list(trace)
        self.request_id = ""

    def to_dict(self):
        return {
            "errorMessage": self.message,
            "errorType": self.kind,
            "requestId": self.request_id,
            "stackTrace": self.trace,
        }

    def to_json(self):
        # What a message may have that UTF-8 hasn't: half of a pair.
        return to_json(self.to_dict()).encode("utf-8", "replace").decode("utf-8")

    def to_line(self):
        """One event of the log."""
        lines = ["[ERROR] " + ": ".join(part for part in (self.kind, self.message) if part)]
        if self.trace:
            lines.append("Traceback (most recent call last):")
        for line in (line for frame in self.trace for line in frame.splitlines()):
            blanks = len(line) - len(line.lstrip(" "))
            lines.append(_INDENT * (blanks // 2) + line.lstrip(" "))
        return "\r".join(line.replace("\n", "\r") for line in lines)


def to_failure(error):
    """Of what the function's code raised; the frames of the runtime are not the function's."""
    if isinstance(error, Failure):
        return error
    frames = traceback.extract_tb(error.__traceback__)
    while frames and (frames[0].filename.startswith(_RUNTIME) or frames[0].filename.startswith("<frozen ")):
        frames.pop(0)
    # Tuples, and not frames: of those AWS has no marks under the line.
    plain = [(frame.filename, frame.lineno, frame.name, frame.line) for frame in frames]
    return Failure(type(error).__name__, _message(error), traceback.format_list(plain))


def _message(error):
    try:
        return str(error)
    except Exception:
        return "The error's message could not be retrieved: %s" % sys.exc_info()[0].__name__
