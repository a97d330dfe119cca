import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { parseHost } from "../../../proxy/admission/host.ts"

const NAME = "9b2d0e4c-1111-4111-8111-111111111111.vm.localhost"

describe("A Host", () => {
  test.for([
    [NAME, NAME, undefined],
    [`${NAME}:7443`, NAME, undefined],
    [`${NAME.toUpperCase()}.:443`, NAME, undefined],
    [`3000-${NAME}`, NAME, 3000],
    [`1-${NAME}:7443`, NAME, 1],
    [`65535-${NAME}.`, NAME, 65535],
  ] as const)("%s names an endpoint, and the port before it", ([host, name, port]) => {
    expect(parseHost(host)).toEqual({ name, port })
  })

  test.for([
    "0-",
    "00-",
    "08-",
    "65536-",
    "99999-",
    "100000-",
    "-",
    "--",
    "+1-",
    "1e3-",
    "0x50-",
    "８０-",
    "80_",
    "80.",
    "80",
  ])("with %s before the endpoint is nobody's name", (prefix) =>
    expect(parseHost(prefix + NAME)).toEqual({ name: (prefix + NAME).toLowerCase(), port: undefined }),
  )

  test("with two ports before the endpoint names what begins with the second", () => {
    expect(parseHost(`80-81-${NAME}`)).toEqual({ name: `81-${NAME}`, port: 80 })
  })

  test("that is an endpoint is never taken for a port and something else", () => {
    fc.assert(fc.property(fc.uuid(), (id) => parseHost(`${id}.vm.localhost`).port === undefined))
  })
})
