/** The applications whose bases are measured: each answers with the memory of its guest that is free. */

/** Behind every application: /proc/meminfo's MemFree, in MiB. */
const NODE = `const { readFileSync } = require("node:fs")
require("node:http").createServer((request, response) => {
  const free = Number(/MemFree: +(\\d+)/.exec(readFileSync("/proc/meminfo", "utf8"))[1]) / 1024
  response.end(JSON.stringify({ free }))
}).listen(8080)
`

/** As many modules as thirty packages bring. */
const IMPORTS = [
  ..."argparse array ast asyncio base64 bisect calendar codecs collections.abc colorsys concurrent.futures configparser".split(
    " ",
  ),
  ..."contextlib copy csv ctypes dataclasses datetime decimal difflib doctest email.mime.text enum fractions ftplib".split(
    " ",
  ),
  ..."functools getpass gettext glob gzip hashlib heapq hmac html.parser http.client http.cookiejar http.server imaplib".split(
    " ",
  ),
  ..."inspect ipaddress itertools json.tool logging.config lzma mailbox mimetypes multiprocessing.pool optparse pathlib pdb".split(
    " ",
  ),
  ..."pickletools platform plistlib poplib pprint profile queue random re sched secrets selectors shelve shlex shutil smtplib".split(
    " ",
  ),
  ..."socketserver sqlite3 ssl statistics string subprocess tarfile tempfile textwrap threading timeit tomllib traceback".split(
    " ",
  ),
  ..."typing unittest.mock urllib.request urllib.robotparser uuid venv wave weakref webbrowser wsgiref.simple_server".split(
    " ",
  ),
  ..."xml.dom.minidom xml.etree.ElementTree xml.sax xmlrpc.client zipapp zipfile zoneinfo".split(" "),
]

const PYTHON = `${IMPORTS.map((name) => `import ${name}`).join("\n")}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        free = int(re.search(r"MemFree: +(\\d+)", pathlib.Path("/proc/meminfo").read_text())[1]) / 1024
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"free": free}).encode())
http.server.HTTPServer(("", 8080), Handler).serve_forever()
`

const MODULES = 50
/** A module of a mebibyte: functions that are there and called once. */
const largeModule = (index: number): string => {
  const lines = Array.from(
    { length: 8000 },
    (_, line) => `exports.f${line} = (x) => x * ${index + line} + "${"text ".repeat(18)}".length`,
  )
  return lines.join("\n")
}

const imageOf = (files: Readonly<Record<string, string>>, command: string) => ({
  ...files,
  Dockerfile: `FROM torpor/debian:13\nWORKDIR /app\nCOPY . .\nCMD ${command}\n`,
})

/** By their names in the results. */
export const buildApps: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "empty app": imageOf({ "server.js": NODE }, '["node", "server.js"]'),
  "Python app of 100 imports": imageOf({ "server.py": PYTHON }, '["python3", "server.py"]'),
  "Node app of 50 MB": imageOf(
    {
      ...Object.fromEntries(Array.from({ length: MODULES }, (_, index) => [`lib/${index}.js`, largeModule(index)])),
      "server.js": `for (let i = 0; i < ${MODULES}; i++) require("./lib/" + i).f1(1)\n${NODE}`,
    },
    '["node", "server.js"]',
  ),
}
