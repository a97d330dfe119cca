import type { Variables } from "./text/variable.ts"

/** Known to every RUN without an ARG. Source: https://docs.docker.com/reference/dockerfile/#predefined-args */
const NAMES = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"]

/** The proxies that the build's arguments name, each in capitals and in small letters, since programs look for one or the other. */
export const proxiesOf = (given: Variables): Variables =>
  Object.fromEntries(
    NAMES.flatMap((name) => {
      const [value] = [name, name.toLowerCase()]
        .filter((written) => Object.hasOwn(given, written))
        .map((written) => given[written])
      return value === undefined ? [] : [name, name.toLowerCase()].map((written): [string, string] => [written, value])
    }),
  )
