"""The Runtime API as its client, over one connection."""

import http.client
import json
import urllib.parse


class Client:
    def __init__(self, address):
        self._connection = http.client.HTTPConnection(address)

    def _ask(self, method, path, body=None, headers=None):
        self._connection.request(method, "/2018-06-01/runtime/" + path, body=body, headers=headers or {})
        answer = self._connection.getresponse()
        return answer, answer.read()

    def next(self):
        """The next event: what its headers say, and its bytes."""
        answer, payload = self._ask("GET", "invocation/next")
        if answer.status != 200:
            raise RuntimeError("The next event was refused: " + payload.decode("utf-8", "replace"))
        return answer.headers, payload

    def respond(self, request_id, body):
        path = "invocation/%s/response" % urllib.parse.quote(request_id, safe="")
        self._ask("POST", path, body.encode("utf-8"), {"Content-Type": "application/json"})

    def fail(self, where, failure):
        """`where` is `init`, `restore`, or an invocation's id."""
        path = where if where in ("init", "restore") else "invocation/" + urllib.parse.quote(where, safe="")
        headers = {"Content-Type": "application/json", "Lambda-Runtime-Function-Error-Type": header(failure.kind)}
        self._ask("POST", path + "/error", failure.to_json().encode("utf-8"), headers)

    def restored(self):
        """Returns when the environment has been restored from its snapshot, with the variables that are others now."""
        _, told = self._ask("GET", "restore/next")
        return json.loads(told) if told else {}


def header(text):
    return "".join(char if " " <= char <= "~" else "?" for char in text)
