"""Answers /NAME with a picture of pages/NAME.svg, drawn by a program of its own in a directory of its own, as browsers are driven."""

import os
import subprocess
import sys
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

RENDERER = Path(os.environ["PLAYWRIGHT_BROWSERS_PATH"]) / "renderer"


class Screenshots(BaseHTTPRequestHandler):
    def do_GET(self):
        page = Path("pages") / f"{Path(self.path).name}.svg"
        if not page.is_file():
            self.send_error(404)
            return
        with tempfile.TemporaryDirectory() as profile:
            picture = Path(profile) / "page.png"
            subprocess.run([RENDERER, "--output", picture, page], check=True, timeout=60)
            content = picture.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "image/png")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Home", os.path.expanduser("~"))
        self.send_header("X-User", str(os.getuid()))
        self.end_headers()
        self.wfile.write(content)


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Screenshots).serve_forever()
