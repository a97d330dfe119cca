/** nginx from a configuration of the bench's own, in a directory of its own: never the machine's service. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import type { TlsFiles } from "./contestant.ts"
import { freePort } from "./free-port.ts"

export const BODY = "hello from the application\n"
export const LARGE_MIB = 256

export interface Nginx extends AsyncDisposable {
  readonly pid: number
  readonly ports: Readonly<Record<string, number>>
}

/** The application: a small body and a large file, over plain HTTP for proxies and over TLS for whoever comes directly. */
export const startUpstream = async (core: number, tls: TlsFiles): Promise<Nginx> => {
  const [plain, direct] = [await freePort(), await freePort()]
  return startNginx(core, { plain, direct }, async (directory) => {
    // Of zeros, and none of them on the disk: nobody between here and the client compresses.
    await writeFile(join(directory, "large"), "")
    await truncate(join(directory, "large"), LARGE_MIB * 1024 ** 2)
    return `
server {
  listen 127.0.0.1:${plain};
  listen 127.0.0.1:${direct} ssl http2;
  ${tlsLines(tls)}
  location = / { default_type text/plain; return 200 "${BODY.trim()}\\n"; }
  location = /large { root ${directory}; }
}`
  })
}

/** The contestant: one worker, TLS in, connections to the application kept; nothing is written to a disk. */
export const startNginxProxy = async (core: number, tls: TlsFiles, app: number, echo: number): Promise<Nginx> => {
  const port = await freePort()
  return startNginx(
    core,
    { port },
    async () => `
upstream app { server 127.0.0.1:${app}; keepalive 256; keepalive_requests 1000000000; }
upstream echo { server 127.0.0.1:${echo}; keepalive 256; keepalive_requests 1000000000; }
server {
  listen 127.0.0.1:${port} ssl http2;
  ${tlsLines(tls)}
  proxy_http_version 1.1;
  proxy_set_header Host $host;
  proxy_set_header Connection "";
  proxy_max_temp_file_size 0;
  proxy_request_buffering off;
  client_max_body_size 0;
  location / { proxy_pass http://app; }
  location = /sink { proxy_pass http://echo; }
  location = /echo {
    proxy_pass http://echo;
    proxy_read_timeout 1d;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection upgrade;
  }
}`,
  )
}

const tlsLines = ({ certificateFile, keyFile }: TlsFiles) =>
  `ssl_certificate ${certificateFile}; ssl_certificate_key ${keyFile}; ssl_protocols TLSv1.3;`

const startNginx = async (
  core: number,
  ports: Readonly<Record<string, number>>,
  servers: (directory: string) => Promise<string>,
): Promise<Nginx> => {
  const directory = await mkdtemp(join(tmpdir(), "torpor-bench-nginx-"))
  const configuration = `
daemon off;
master_process off;
worker_rlimit_nofile 20000;
error_log stderr error;
pid ${directory}/pid;
events { worker_connections 16384; }
http {
  access_log off;
  sendfile on;
  tcp_nodelay on;
  keepalive_timeout 1d;
  keepalive_requests 1000000000;
  ${["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${directory}/${name};`).join("\n  ")}
  ${await servers(directory)}
}
`
  await writeFile(join(directory, "nginx.conf"), configuration)
  const child = spawn(
    "taskset",
    ["-c", String(core), "nginx", "-p", directory, "-e", "stderr", "-c", join(directory, "nginx.conf")],
    { stdio: ["ignore", "inherit", "inherit"] },
  )
  const exit = once(child, "exit")
  for (const port of Object.values(ports)) await untilListens(port)
  return {
    pid: child.pid ?? 0,
    ports,
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM")
      await exit
      await rm(directory, { recursive: true })
    },
  }
}

const untilListens = async (port: number): Promise<void> => {
  for (let tries = 0; tries < 500; tries++) {
    const socket = connect(port, "127.0.0.1")
    const [outcome] = await Promise.race([
      once(socket, "connect").then(() => [true]),
      once(socket, "error").then(() => [false]),
    ]).catch(() => [false])
    socket.destroy()
    if (outcome) return
    await sleep(10)
  }
  throw new Error(`nginx doesn't listen on port ${port}`)
}
