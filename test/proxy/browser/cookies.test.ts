import { describe, expect, test } from "vitest"
import { takeCookie, toSetCookie } from "../../../proxy/browser/cookie.ts"
import { confineCookies } from "../../../proxy/browser/set-cookie.ts"

const taken = (cookie: string) => {
  const headers = { cookie, accept: "*/*" }
  return [takeCookie(headers), (headers as { cookie?: string }).cookie]
}

describe("The edge's cookie", () => {
  test("is set for this host alone, out of scripts' reach, for as long as it is good", () => {
    expect(toSetCookie("a.b.c", 60)).toBe("__Host-torpor=a.b.c; Max-Age=60; Path=/; Secure; HttpOnly; SameSite=Lax")
  })

  test.for([
    ["__Host-torpor=a.b.c", "a.b.c", undefined],
    ["__Host-torpor=a.b.c; x=1;y=2;  z= 3 ", "a.b.c", "x=1;y=2;  z= 3 "],
    ["x=1; __Host-torpor=a.b.c", "a.b.c", "x=1"],
    ["x=1;__Host-torpor=a=b;y=2", "a=b", "x=1;y=2"],
    ["__Host-torpor=a.b.c; ", "a.b.c", undefined],
    ["__Host-torpor=", "", undefined],
  ] as const)("is taken out of %j, and the others stay as they are", ([cookie, token, left]) => {
    expect(taken(cookie)).toEqual([token, left])
  })

  test.for([
    "__Host-torpor=a; __Host-torpor=b",
    "__Host-torpor=a; __Host-torpor",
    "__Host-torpor=a; x; __Host-torpor=a",
  ])("that is there twice, %j, is worth nothing, and goes no further either", (cookie) => {
    const [token, left] = taken(cookie)
    expect([token, String(left).includes("torpor")]).toEqual([undefined, false])
  })

  test.for(["x=1; y=__Host-torpor", "__host-torpor=a", "x__Host-torpor=a", "__Host-torpor2=a", '"__Host-torpor=a"'])(
    "is not what only looks like it: %j",
    (cookie) => expect(taken(cookie)).toEqual([undefined, cookie]),
  )
})

const kept = (...cookies: string[]) => {
  const headers = { "set-cookie": cookies }
  confineCookies(headers)
  return (headers as { "set-cookie"?: string[] })["set-cookie"]
}

describe("An application's cookie", () => {
  test("of its own host goes through as it was written", () => {
    const own = [
      "a=1",
      "b=domain=x; Path=/; HttpOnly",
      "domain=vm.localhost",
      "c=; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
    ]
    expect(kept(...own)).toEqual(own)
  })

  test.for([
    "a=1; Domain=vm.localhost",
    "a=1;domain=.localhost",
    "a=1; DOMAIN = x; Path=/",
    "a=1; Domain",
    "a=1; Domain=",
    "a=1; \tdomain\t=x",
  ])("for a domain is dropped: %j", (cookie) => {
    expect(kept(cookie)).toBeUndefined()
    expect(kept("b=2", cookie, "c=3")).toEqual(["b=2", "c=3"])
  })

  test.for([
    "__Host-torpor=a",
    "__Host-torpor=; Max-Age=0",
    " __Host-torpor =a",
    "=__Host-torpor=a",
    "= __Host-torpor=a; Path=/",
    "__Host-torpor",
    "__HOST-Torpor=a",
  ])("of the edge's name is dropped: %j", (cookie) => expect(kept(cookie, "b=2")).toEqual(["b=2"]))
})

test.for([
  ['"cookies"', undefined],
  ['"*"', undefined],
  ['"cache", "cookies","storage"', '"cache", "storage"'],
  ['"storage"', '"storage"'],
] as const)("An application cannot wipe its neighbours' cookies: Clear-Site-Data %s", ([sent, left]) => {
  const headers = { "clear-site-data": sent }
  confineCookies(headers)
  expect((headers as Record<string, unknown>)["clear-site-data"]).toBe(left)
})
