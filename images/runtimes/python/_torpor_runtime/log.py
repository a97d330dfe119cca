"""The root logger, as functions on AWS find it: each record one event, with the invocation it belongs to."""

import json
import logging
import os
import sys
import time

from .failure import to_json

_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "aws_request_id", "tenant_id"}


class _Current:
    request_id = ""
    tenant_id = None


current = _Current()


class _Filter(logging.Filter):
    def filter(self, record):
        record.aws_request_id = current.request_id
        record.tenant_id = current.tenant_id
        return True


class _Text(logging.Formatter):
    converter = time.gmtime

    def __init__(self):
        super().__init__(
            "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s", "%Y-%m-%dT%H:%M:%S"
        )


class _Json(logging.Formatter):
    converter = time.gmtime

    def __init__(self):
        super().__init__(datefmt="%Y-%m-%dT%H:%M:%SZ")

    def format(self, record):
        content = {
            "timestamp": self.formatTime(record, self.datefmt),
            "level": record.levelname,
            "message": record.getMessage(),
            "logger": record.name,
        }
        if record.exc_info and record.exc_info[0] is not None:
            kind, error, _ = record.exc_info
            content["stackTrace"] = self.formatException(record.exc_info).splitlines()
            content["errorType"] = kind.__name__
            content["errorMessage"] = str(error)
            content["location"] = "%s:%s:%d" % (record.pathname, record.funcName, record.lineno)
        if record.aws_request_id:
            content["requestId"] = record.aws_request_id
        if record.tenant_id:
            content["tenantId"] = record.tenant_id
        for name, value in vars(record).items():
            if name not in _STANDARD and name not in content:
                content[name] = value
        try:
            return to_json(content)
        except (TypeError, ValueError):
            return json.dumps(content, default=str, skipkeys=True)


class _Handler(logging.Handler):
    def emit(self, record):
        try:
            # A record is one line, whatever is in it.
            sys.stdout.write(self.format(record).replace("\n", "\r") + "\n")
        except Exception:
            self.handleError(record)


def is_json():
    return os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"


def set_up():
    handler = _Handler()
    handler.addFilter(_Filter())
    handler.setFormatter(_Json() if is_json() else _Text())
    root = logging.getLogger()
    root.addHandler(handler)
    level = {"TRACE": logging.NOTSET, "FATAL": logging.CRITICAL}.get(
        os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper(),
        logging.getLevelName(os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper()),
    )
    if isinstance(level, int):
        root.setLevel(level)


def say_failure(failure):
    """The runtime's own line about what failed."""
    if is_json():
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = to_json({"timestamp": now, "log_level": "ERROR", **failure.to_dict()})
    else:
        line = failure.to_line()
    sys.stdout.write(line.encode("utf-8", "replace").decode("utf-8") + "\n")
