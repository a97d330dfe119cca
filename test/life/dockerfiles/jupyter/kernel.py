"""One line of JSON in for each thing to execute, one out with what it printed."""

import code
import contextlib
import io
import json
import sys

interpreter = code.InteractiveInterpreter({"__name__": "__main__"})
interpreter.runsource(open("work/startup.py").read(), symbol="exec")
replies = sys.stdout
for line in sys.stdin:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        interpreter.runsource(json.loads(line))
    print(json.dumps(said.getvalue()), file=replies, flush=True)
