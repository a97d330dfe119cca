/** The application of the quickstart and the benches: a counter that lives in memory alone. */
import { buffer } from "node:stream/consumers"
import { ZipFile } from "yazl"

const DOCKERFILE = `FROM torpor/debian:13
WORKDIR /app
COPY server.js .
RUN echo "built by $(node --version)" > built
ENV GREETING=hello
EXPOSE 8080
CMD ["node", "server.js"]
`

const SERVER = `const { createServer } = require("node:http")
const { hostname } = require("node:os")
let count = 0
createServer((request, response) => {
  count++
  response.setHeader("content-type", "application/json")
  response.end(JSON.stringify({ greeting: process.env.GREETING, count, hostname: hostname() }) + "\\n")
}).listen(8080, "127.0.0.1")
`

/** A zip of files by name: what CreateMicrovmImage takes from S3. */
export const zipOf = (files: Readonly<Record<string, string | Buffer>>): Promise<Buffer> => {
  const zip = new ZipFile()
  for (const [name, content] of Object.entries(files)) zip.addBuffer(Buffer.from(content), name, { mtime: new Date(0) })
  zip.end()
  return buffer(zip.outputStream)
}

/** The sample's files by name. */
export const sampleFiles = { Dockerfile: DOCKERFILE, "server.js": SERVER }

/** The sample as an archive. */
export const sampleArchive = (): Promise<Buffer> => zipOf(sampleFiles)

/** The handlers of the quickstart's functions, by the runtime that they are for. */
export const sampleHandlers = {
  "nodejs24.x": {
    "index.mjs": `let count = 0
export const handler = async (event) => ({ greeting: \`hello \${event.name ?? "world"} from Node\`, count: ++count })
`,
  },
  "python3.13": {
    "index.py": `count = 0

def handler(event, context):
    global count
    count += 1
    return {"greeting": f"hello {event.get('name', 'world')} from Python", "count": count}
`,
  },
} as const
