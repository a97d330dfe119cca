/** Handlers, runtimes and an extension, as their files are. */

export const NODE = `
import { randomUUID } from "node:crypto"
import { setTimeout as sleep } from "node:timers/promises"

const id = randomUUID()
let count = 0
let atOnce = 0
export const handler = async (event, context) => {
  count++
  const meanwhile = atOnce++
  console.log("greeting", event.name)
  if (event.sleepMs) await sleep(event.sleepMs)
  atOnce--
  return {
    id,
    count,
    meanwhile,
    greeting: process.env.GREETING + " " + event.name,
    name: context.functionName,
    memory: context.memoryLimitInMB,
    remaining: context.getRemainingTimeInMillis(),
    uid: process.getuid(),
    directory: process.cwd(),
    initialization: process.env.AWS_LAMBDA_INITIALIZATION_TYPE,
  }
}
`

export const PYTHON = `
import os
import words

def handler(event, context):
    if event.get("fail"):
        return 1 / 0
    with open("/tmp/mark", "w") as mark:
        mark.write("here")
    return {
        "said": f"{words.GREETING} from a {words.NAME}",
        "twice": 2 * event["n"],
        "writable": os.access("/var/task", os.W_OK) or os.access("/usr", os.W_OK),
        "temporary": os.path.exists("/tmp/mark"),
    }
`

/** As AWS's guide to custom runtimes has it; it takes a good part of its function's memory when it is asked to. */
export const SHELL_BOOTSTRAP = `#!/bin/sh
set -eu
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while true; do
  headers=$(mktemp)
  event=$(curl -sS -LD "$headers" "$api/next")
  case "$event" in
    *eat*) head -c 60000000 /dev/zero > /dev/shm/held; head -c 40000000 /dev/zero | tail -c 40000000 > /dev/null ;;
  esac
  id=$(grep -Fi Lambda-Runtime-Aws-Request-Id "$headers" | tr -d '[:space:]' | cut -d: -f2)
  curl -sS "$api/$id/response" -d "$event" > /dev/null
done
`

/** An external extension in a shell script: says what it is told, and holds half of its function's memory. */
export const EXTENSION = `#!/bin/sh
set -eu
head -c 60000000 /dev/zero > /dev/shm/held
api="http://$AWS_LAMBDA_RUNTIME_API/2020-01-01/extension"
headers=$(mktemp)
curl -sS -D "$headers" -H "Lambda-Extension-Name: watcher" -d '{"events":["INVOKE","SHUTDOWN"]}' "$api/register" > /dev/null
id=$(grep -Fi Lambda-Extension-Identifier "$headers" | tr -d '[:space:]' | cut -d: -f2)
while true; do
  event=$(curl -sS -H "Lambda-Extension-Identifier: $id" "$api/event/next")
  case "$event" in
    *SHUTDOWN*) exit 0 ;;
    *) echo "extension: INVOKE" ;;
  esac
done
`

/** Asks for an event with plain sockets, and answers how long it was. */
export const C_BOOTSTRAP = `
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static char answer[65536];

static void ask(const char *request) {
  char address[64];
  snprintf(address, sizeof address, "%s", getenv("AWS_LAMBDA_RUNTIME_API"));
  char *port = strchr(address, ':');
  *port++ = 0;
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
  inet_pton(AF_INET, address, &to.sin_addr);
  int connection = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(connection, (struct sockaddr *)&to, sizeof to)) exit(1);
  if (write(connection, request, strlen(request)) < 0) exit(2);
  size_t length = 0;
  for (ssize_t got; (got = read(connection, answer + length, sizeof answer - 1 - length)) > 0;) length += got;
  answer[length] = 0;
  close(connection);
}

int main(void) {
  for (;;) {
    ask("GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nHost: api\\r\\nConnection: close\\r\\n\\r\\n");
    char *head = strcasestr(answer, "lambda-runtime-aws-request-id:"), *body = strstr(answer, "\\r\\n\\r\\n");
    if (!head || !body) return 3;
    char id[64], response[64], request[512];
    sscanf(strchr(head, ':') + 1, " %63[0-9a-zA-Z-]", id);
    snprintf(response, sizeof response, "{\\"length\\":%zu}", strlen(body + 4));
    snprintf(request, sizeof request,
             "POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\\r\\nHost: api\\r\\nConnection: close\\r\\n"
             "Content-Length: %zu\\r\\n\\r\\n%s", id, strlen(response), response);
    ask(request);
  }
}
`

export const STREAM = `
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import { setTimeout as sleep } from "node:timers/promises"

const id = randomUUID()
export const handler = awslambda.streamifyResponse(async (given, responseStream) => {
  // By its URL, what it is asked is in the query.
  const query = given.requestContext === undefined ? undefined : given.queryStringParameters
  const event = query === undefined ? given : { bytes: Number(query.bytes) }
  const stream =
    query === undefined
      ? responseStream
      : awslambda.HttpResponseStream.from(responseStream, { statusCode: 201, headers: { "x-answer": "streamed" } })
  if (event.hold !== undefined) {
    stream.write(id)
    await sleep(event.hold)
  }
  for (let left = event.bytes ?? 0; left > 0; left -= 65536)
    if (!stream.write("x".repeat(Math.min(left, 65536)))) await once(stream, "drain")
  if (event.fail) throw new RangeError("midway")
  stream.end()
})
`

/** Does what no function should. */
export const UNRULY = `
import { spawn } from "node:child_process"
import { once } from "node:events"
import { closeSync, openSync, rmSync, writeSync } from "node:fs"

const unruly = {
  exit: ({ code }) => process.exit(code),
  eat: () => {
    for (const kept = []; ; ) kept.push(Buffer.alloc(2 ** 22, 1))
  },
  answer: ({ bytes }) => "x".repeat(bytes),
  throw: () => {
    throw new TypeError("asked to")
  },
  async fork() {
    // Each has twice the memory of the one that it comes from: some fifty of them are more than the function's.
    const bomb = "kept=$(printf %65536s x); bomb() { kept=$kept$kept; bomb & bomb; }; bomb"
    await once(spawn("sh", ["-c", bomb]), "close")
    return "all of them"
  },
  fill() {
    const file = openSync("/tmp/filled", "w")
    const piece = Buffer.alloc(2 ** 20, 1)
    let mebibytes = 0
    try {
      for (; mebibytes < 1024; mebibytes++) writeSync(file, piece)
      return { code: null, mebibytes }
    } catch (error) {
      return { code: error.code, mebibytes }
    } finally {
      closeSync(file)
      rmSync("/tmp/filled")
    }
  },
  flood() {
    for (let line = 0; line < 2000; line++) process.stdout.write((\`\${"f".repeat(60)}\\n\`).repeat(100))
    return { lines: 200_000 }
  },
}
export const handler = async (event) => unruly[event.do](event)
`
