/** Images as the ones that people's Dockerfiles begin with, by the same names: few layers, whose images are told apart by what they say of themselves. */
import { readFile } from "node:fs/promises"
import { createRequire } from "node:module"
import { dirname } from "node:path"
import { debianLayer, ZSTD_LAYER } from "../../fixtures/debian-layer.ts"
import { pushImage, type RegistryServer } from "../../registry/registry-server.ts"

const namesIn = (text: string) => text.trim().split(/\s+/)

const PACKAGES = namesIn(`
  base-files base-passwd bash coreutils dash findutils grep gzip hostname libc-bin mawk passwd sed tar
  ca-certificates socat tzdata python3 python3-pip python3-flask nodejs nginx
`)
const MORE_PACKAGES = namesIn(`
  python3-starlette python3-tornado uvicorn node-express php8.4-cli ruby ruby-bundler ruby-rackup ruby-webrick
  fonts-dejavu-core librsvg2-bin
`)
/** What of installing, and of tests of packages, would be twice as much as all the rest. */
const LEFT_OUT = namesIn(`
  adduser debconf debconf-2.0 debianutils dpkg init-system-helpers openssl perl perl-base iproute2 media-types
  netbase procps psmisc readline-common sensible-utils shared-mime-info ucf fonts-dejavu-mono libgdk-pixbuf2.0-common
  libx11-data node-corepack node-define-property node-for-each node-lodash-packages node-object-keys node-resolve
  php8.4-readline python3-dnspython python3-email-validator python3-uvloop rake ruby-csv ruby-did-you-mean
  ruby-net-telnet ruby-xmlrpc
`)

const GO_PACKAGES = namesIn(`
  base-files base-passwd bash coreutils dash findutils grep gzip libc-bin sed tar
  gccgo-14 binutils-x86-64-linux-gnu libc6-dev
`)
const GO_LEFT_OUT = namesIn(`
  debconf debconf-2.0 debianutils dpkg perl perl-base libasan8 libcc1-0 libcrypt-dev libc-dev-bin libgomp1
  libgprofng0 libhwasan0 libitm1 liblsan0 libtsan2 libubsan1 linux-libc-dev rpcsvc-proto
`)

const PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/** An emulated guest unpacks each file of a layer: one that has more is for those who ask for it. */
export type Layer = "few" | "more" | "go"

interface Image {
  readonly layer: Layer
  readonly config: Record<string, unknown>
}

const imageOf = (config: Record<string, unknown>, layer: Layer = "more"): Image => ({ layer, config })

/** By name and tag. */
const IMAGES: Readonly<Record<string, Image>> = {
  "library/debian:trixie-slim": imageOf({ Env: [PATH], Cmd: ["bash"] }, "few"),
  "library/golang:1.18": imageOf(
    {
      Env: [PATH.replace("=", "=/go/bin:"), "GOLANG_VERSION=1.18", "GOTOOLCHAIN=local", "GOPATH=/go"],
      Cmd: ["bash"],
      WorkingDir: "/go",
    },
    "go",
  ),
  "library/nginx:1.26": imageOf(
    {
      Env: [PATH, "NGINX_VERSION=1.26.3", "NJS_VERSION=0.8.9", "PKG_RELEASE=1~trixie"],
      Entrypoint: ["/docker-entrypoint.sh"],
      Cmd: ["nginx", "-g", "daemon off;"],
      ExposedPorts: { "80/tcp": {} },
      StopSignal: "SIGQUIT",
      Labels: { maintainer: "NGINX Docker Maintainers <docker-maint@nginx.com>" },
    },
    "few",
  ),
  "library/node:20-slim": imageOf(
    { Env: [PATH, "NODE_VERSION=20.19.2"], Entrypoint: ["docker-entrypoint.sh"], Cmd: ["node"] },
    "few",
  ),
  "library/php:8.4-cli": imageOf({
    Env: [PATH, "PHP_INI_DIR=/etc/php/8.4/cli", "PHP_VERSION=8.4"],
    Entrypoint: ["docker-php-entrypoint"],
    Cmd: ["php", "-a"],
  }),
  "library/python:3.13-slim": imageOf(
    { Env: [PATH, "LANG=C.UTF-8", "PYTHON_VERSION=3.13.5"], Cmd: ["python3"] },
    "few",
  ),
  "library/ruby:3.3": imageOf({
    Env: [PATH, "LANG=C.UTF-8", "RUBY_VERSION=3.3.8", "BUNDLE_SILENCE_ROOT_WARNING=1"],
    Cmd: ["irb"],
  }),
  "jupyter/base-notebook:latest": imageOf({
    Env: [
      PATH.replace("=", "=/opt/conda/bin:"),
      ...namesIn("DEBIAN_FRONTEND=noninteractive CONDA_DIR=/opt/conda SHELL=/bin/bash LC_ALL=C.UTF-8"),
      ...namesIn("NB_USER=jovyan NB_UID=1000 NB_GID=100 HOME=/home/jovyan JUPYTER_PORT=8888"),
    ],
    User: "1000",
    WorkingDir: "/home/jovyan",
    ExposedPorts: { "8888/tcp": {} },
    Cmd: ["start-notebook.py"],
    Healthcheck: { Test: ["CMD-SHELL", "/etc/jupyter/docker_healthcheck.py || exit 1"], Interval: 3_000_000_000 },
  }),
  "playwright/python:v1.49.0-noble": imageOf({
    Env: [PATH, "LANG=C.UTF-8", "LC_ALL=C.UTF-8", "PLAYWRIGHT_BROWSERS_PATH=/ms-playwright"],
    Cmd: ["/bin/bash"],
    Labels: { "org.opencontainers.image.version": "24.04" },
  }),
}

/** Pushes those that stand on these layers; what is there with few packages is so with more. */
export const pushImages = async (registry: RegistryServer, wanted: readonly Layer[]): Promise<void> => {
  const npm = createRequire(import.meta.url).resolve("npm/package.json")
  const { version } = JSON.parse(await readFile(npm, "utf8")) as { version: string }
  const script = (name: string) => readFile(new URL(name, import.meta.url), "utf8")
  const make = {
    few: async () =>
      debianLayer({
        packages: PACKAGES,
        leftOut: LEFT_OUT,
        directories: {},
        finish: await script("base-image.sh"),
      }),
    more: async () =>
      debianLayer({
        packages: [...PACKAGES, ...MORE_PACKAGES],
        leftOut: LEFT_OUT,
        directories: { "usr/local/lib/node_modules/npm": { from: dirname(npm), version } },
        finish: [await script("base-image.sh"), await script("more-images.sh")].join("\n"),
      }),
    go: async () =>
      debianLayer({
        packages: GO_PACKAGES,
        leftOut: GO_LEFT_OUT,
        directories: {},
        finish: await script("go-image.sh"),
      }),
  }
  for (const kind of wanted) {
    const layer = await make[kind]()
    const standsOnIt = (image: Image) => image.layer === kind || (image.layer === "few" && kind === "more")
    for (const [name, { config }] of Object.entries(IMAGES).filter(([, image]) => standsOnIt(image))) {
      const [repository = "", tag = ""] = name.split(":")
      await pushImage(registry, repository, tag, {
        layers: [layer],
        config,
        alter: (manifest) =>
          (manifest["layers"] as { mediaType: string }[]).forEach((described) => (described.mediaType = ZSTD_LAYER)),
      })
    }
  }
}
