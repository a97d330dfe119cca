/** Whom a `Host` names: a MicroVM's endpoint and, before it, maybe a port: `https://<port>-<endpoint>/` is a browser's way to say one. */
export interface NamedHost {
  /** The endpoint, without the port of the edge. */
  readonly name: string
  /** The application's port. */
  readonly port: number | undefined
}

/** An endpoint begins with eight hexadecimal digits: no such prefix is the beginning of one. */
const PREFIX = /^([1-9]\d{0,4})-/

/** Reads a `Host` or `:authority`. A prefix that is no port is left where it is, and so the name is nobody's. */
export const parseHost = (host: string): NamedHost => {
  const name = host.replace(/:\d+$/, "").replace(/\.$/, "").toLowerCase()
  const digits = PREFIX.exec(name)?.[1]
  if (digits === undefined || Number(digits) > 65535) return { name, port: undefined }
  return { name: name.slice(digits.length + 1), port: Number(digits) }
}
