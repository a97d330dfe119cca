#!/usr/bin/python3
"""A runtime of its own: what it does with an event is said by the event."""
import http.client
import json
import os
import sys
import time

INVOCATION = "/2018-06-01/runtime/invocation/"
if os.environ.get("FAILS_ONCE") and not os.path.exists("/tmp/tried"):
    open("/tmp/tried", "w").close()
    sys.exit(7)
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])


def ask(method, path, body=None, headers={}, **more):
    api.request(method, INVOCATION + path, body, headers, **more)
    answer = api.getresponse()
    return answer.read(), answer.headers


events = 0
print("The runtime begins")
sys.stdout.flush()
while True:
    payload, headers = ask("GET", "next")
    event, request = json.loads(payload), headers["Lambda-Runtime-Aws-Request-Id"]
    events += 1
    with open("/tmp/events", "a") as file:
        file.write("x")
    # Without an end of its line.
    print("Event", events, "does", event.get("do"), end="", flush=True)
    if event.get("do") == "hang":
        time.sleep(1000)
    if event.get("do") == "exit":
        sys.exit(3)
    if event.get("do") == "fail":
        kind = {"Lambda-Runtime-Function-Error-Type": "Function.Bad"}
        ask("POST", request + "/error", json.dumps({"errorType": "Bad", "errorMessage": "It was bad."}), kind)
    elif event.get("do") == "stream":
        pieces = (bytes([65 + index % 26]) * 65536 for index in range(event["pieces"]))
        streaming = {"Lambda-Runtime-Function-Response-Mode": "streaming", "Content-Type": "text/plain"}
        ask("POST", request + "/response", pieces, streaming, encode_chunked=True)
    else:
        answer = {
            "events": events,
            "key": os.environ.get("AWS_ACCESS_KEY_ID"),
            "all": os.path.getsize("/tmp/events"),
            "time": time.time(),
            "random": os.urandom(8).hex(),
            "left": int(headers["Lambda-Runtime-Deadline-Ms"]) - time.time() * 1000,
        }
        large = "x" * 7_000_000 if event.get("do") == "large" else ""
        ask("POST", request + "/response", json.dumps({**answer, "large": large}))
