"""The runtime of Python functions: takes events, calls the handler, and answers, until it is ended."""

import json
import os
import sys

from . import assignment, log, randomness, training
from .client import Client
from .context import LambdaContext
from .failure import Failure, to_failure, to_json
from .handler import load_handler

_INIT_EXIT = 1
_RESTORE_EXIT = 64


def main():
    # What a function says is UTF-8, whatever the locale is.
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    if assignment.WAITING not in os.environ:
        _run(None)
    while True:
        told = assignment.wait()
        if not told["isTraining"]:
            randomness.reseed()
            _run(None)
        with training.Trained():
            randomness.reseed()
            _run(ConnectionError)
            Client.connect_ahead(os.environ["AWS_LAMBDA_RUNTIME_API"])


def _run(over):
    """Serves the function of the environment until the process ends, or until that is raised where an event is waited for."""
    _find_modules()
    log.set_up()
    client = Client(os.environ["AWS_LAMBDA_RUNTIME_API"])
    handler = _init(client, lambda: load_handler(os.environ["_HANDLER"]), "init", _INIT_EXIT)
    if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
        _pass_snapshot(client)
    while True:
        try:
            about, payload = client.next()
        except over or ():
            return
        _serve(client, handler, about, payload)


def _find_modules():
    """The function's own come first, its layers' next, and then the runtime's."""
    version = "python%d.%d" % sys.version_info[:2]
    task_root = os.environ["LAMBDA_TASK_ROOT"]
    sys.path[:0] = [task_root, "/opt/python/lib/%s/site-packages" % version, "/opt/python"]


def _init(client, step, where, exit_code):
    try:
        return step()
    except Exception as error:
        failure = to_failure(error)
        log.say_failure(failure)
        client.fail_phase(where, failure)
        sys.exit(exit_code)


def _pass_snapshot(client):
    import snapshot_restore_py as hooks

    def run(kind, registered):
        for function, arguments, named in registered:
            try:
                function(*arguments, **named)
            except Exception as error:
                failure = to_failure(error)
                raise Failure(kind, failure.message, failure.trace) from None

    _init(client, lambda: run("Runtime.BeforeSnapshotError", hooks.get_before_snapshot()), "init", _INIT_EXIT)
    os.environ.update(client.restored())
    randomness.reseed()
    _init(client, lambda: run("Runtime.AfterRestoreError", hooks.get_after_restore()), "restore", _RESTORE_EXIT)


def _serve(client, handler, about, payload):
    request_id = about["requestId"]
    log.current.request_id = request_id
    log.current.tenant_id = about.get("tenantId")
    trace_id = about.get("traceId")
    if trace_id is None:
        os.environ.pop("_X_AMZN_TRACE_ID", None)
    else:
        os.environ["_X_AMZN_TRACE_ID"] = trace_id
    try:
        body = _marshal(handler(_unmarshal(payload), LambdaContext(about)))
    except Exception as error:
        failure = to_failure(error)
        failure.request_id = request_id
        log.say_failure(failure)
        client.fail(failure)
    else:
        client.respond(body)


def _unmarshal(payload):
    try:
        return json.loads(payload)
    except ValueError as error:
        raise Failure("Runtime.UnmarshalError", "Unable to unmarshal input: %s" % error) from None


def _marshal(result):
    try:
        body = to_json(result)
        body.encode("utf-8")
        return body
    except Exception as error:
        raise Failure("Runtime.MarshalError", "Unable to marshal response: %s" % error) from None
