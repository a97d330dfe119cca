import asyncio
import json
import subprocess
import sys

import tornado.web
import tornado.websocket
from tornado.options import define, options, parse_command_line

define("port", default=8888)
kernels: dict[str, subprocess.Popen] = {}


def execute(name: str, source: str) -> str:
    kernel = kernels[name]
    kernel.stdin.write(json.dumps(source) + "\n")
    kernel.stdin.flush()
    return json.loads(kernel.stdout.readline())


class Kernels(tornado.web.RequestHandler):
    def get(self):
        self.write({name: kernel.poll() is None for name, kernel in kernels.items()})


class Channels(tornado.websocket.WebSocketHandler):
    async def on_message(self, message):
        request = json.loads(message)
        output = await asyncio.to_thread(execute, request["kernel"], request["code"])
        self.write_message({"output": output})


async def main():
    parse_command_line()
    for name in ["one", "two"]:
        command = [sys.executable, "kernel.py"]
        kernels[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    tornado.web.Application([("/api/kernels", Kernels), ("/api/channels", Channels)]).listen(options.port)
    await asyncio.Event().wait()


asyncio.run(main())
