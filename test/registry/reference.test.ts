import { describe, expect, test } from "vitest"
import { parseReference, toText } from "../../images/registry/reference.ts"

const DIGEST = `sha256:${"0123456789abcdef".repeat(4)}`

describe("A reference is read as Docker reads it", () => {
  test.each([
    ["node", "docker.io/library/node:latest"],
    ["node:22-slim", "docker.io/library/node:22-slim"],
    ["grafana/grafana:11", "docker.io/grafana/grafana:11"],
    ["docker.io/node", "docker.io/library/node:latest"],
    ["index.docker.io/node:22", "docker.io/library/node:22"],
    ["registry-1.docker.io/library/node:22", "docker.io/library/node:22"],
    ["ghcr.io/x/y", "ghcr.io/x/y:latest"],
    ["ghcr.io/a/b/c/d:1", "ghcr.io/a/b/c/d:1"],
    ["GHCR.io/x/y:V1.2_a-b", "ghcr.io/x/y:V1.2_a-b"],
    ["localhost/x", "localhost/x:latest"],
    ["localhost:5000/x", "localhost:5000/x:latest"],
    ["127.0.0.1:5000/x/y:z", "127.0.0.1:5000/x/y:z"],
    ["user/x:5000", "docker.io/user/x:5000"],
    ["a__b/c--d.e_f", "docker.io/a__b/c--d.e_f:latest"],
    [`node@${DIGEST}`, `docker.io/library/node@${DIGEST}`],
    [`node:22@${DIGEST}`, `docker.io/library/node@${DIGEST}`],
    [`ghcr.io/x/y:1@${DIGEST}`, `ghcr.io/x/y@${DIGEST}`],
    [`x:${"a".repeat(128)}`, `docker.io/library/x:${"a".repeat(128)}`],
  ])("%s", (text, whole) => {
    expect(toText(parseReference(text))).toBe(whole)
  })
})

describe("What is no reference is refused with what is wrong about it", () => {
  test.each([
    ["", "it is empty"],
    [":22", "its name is missing"],
    ["ghcr.io/", "its name is missing"],
    ["https://ghcr.io/x/y", "it is written without 'https://'"],
    ["docker://node", "it is written without 'https://'"],
    ["Node:22", "its name must be lower case"],
    ["ghcr.io/X/y", "its name must be lower case"],
    ["node:", "its tag is"],
    ["node:a:b", "its tag is"],
    ["node:-a", "its tag is"],
    [`node:${"a".repeat(129)}`, "its tag is"],
    ["node:22 --flag", "its tag is"],
    ["x y", "its name is made of"],
    ["x//y", "its name is made of"],
    ["/x", "its name is made of"],
    ["x/", "its name is made of"],
    ["../x", "'..' is no host"],
    ["-x", "its name is made of"],
    ["x-", "its name is made of"],
    ["x___y", "its name is made of"],
    ["x\n", "its name is made of"],
    ["x\0y", "its name is made of"],
    ["-a.b/x", "'-a.b' is no host"],
    ["[::1]:5000/x", "'[::1]:5000' is no host"],
    ["a..b/x", "'a..b' is no host"],
    ["user:password@host/x", "behind '@'"],
    ["localhost:99999/x", "no port from 1 to 65535"],
    ["localhost:/x", "'localhost:' is no host"],
    ["node@sha256:abc", "behind '@'"],
    [`node@sha512:${"a".repeat(128)}`, "behind '@'"],
    [`node@${DIGEST.toUpperCase()}`, "behind '@'"],
    [`node@${DIGEST}@${DIGEST}`, "more than one '@'"],
    [DIGEST.slice(7), "are an id and no name"],
    [`a.b/${"x/".repeat(126)}x`, "more than 255 characters"],
    ["x".repeat(5000), "more than 1024 characters"],
  ])("%j: %s", (text, why) => {
    expect(() => parseReference(text)).toThrow(
      expect.objectContaining({ name: "RegistryError", message: expect.stringContaining(why) }),
    )
  })
})
