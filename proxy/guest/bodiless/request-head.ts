import type { RequestHead } from "../../admission/request-head.ts"
import { EdgeError } from "../../errors.ts"

const METHOD = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const PATH = /^[\x21-\x7e\x80-\xff]+$/
const LINE = /^[!#$%&'*+\-.^_`|~0-9a-z]+: [\t\x20-\x7e\x80-\xff]*$/

/** Methods whose requests some applications take to have no end without a length: RFC 9110, 8.6. */
const WITH_LENGTH = new Set(["POST", "PUT", "PATCH"])

/**
 * The head of a request without a body, or of an upgrade, as HTTP/1.1 writes it, each character a byte. Throws an {@link EdgeError} for what HTTP/2 carries
 * and HTTP/1.1 cannot: no line may become two.
 */
export const toRequestText = ({ method, path, headers }: RequestHead, upgrade?: "websocket"): string => {
  if (!METHOD.test(method) || !PATH.test(path)) throw new EdgeError("BAD_REQUEST")
  // HTTP/1.0 servers close the connection unless they are asked not to.
  const connection = upgrade === undefined ? "keep-alive" : `Upgrade\r\nupgrade: ${upgrade}`
  let text = `${method} ${path} HTTP/1.1\r\nconnection: ${connection}\r\n`
  const add = (line: string) => {
    if (!LINE.test(line)) throw new EdgeError("BAD_REQUEST")
    text += `${line}\r\n`
  }
  for (const name in headers) {
    const value = headers[name]
    if (typeof value === "string") add(`${name}: ${value}`)
    else for (const one of value ?? []) add(`${name}: ${one}`)
  }
  if (headers["content-length"] === undefined && WITH_LENGTH.has(method)) add("content-length: 0")
  return `${text}\r\n`
}
