import { describe, expect, test } from "vitest"
import { isOwnPage } from "../../../proxy/browser/own-page.ts"

const HOST = "9b2d0e4c-1111-4111-8111-111111111111.vm.localhost:7443"
const own = (method: string, headers: Record<string, string>, host = HOST) =>
  isOwnPage({ method, path: "/", host, headers })
const from = (site: string, mode = "cors", dest = "empty") => ({
  "sec-fetch-site": site,
  "sec-fetch-mode": mode,
  "sec-fetch-dest": dest,
})
const sibling = "https://00000000-2222-4222-8222-222222222222.vm.localhost:7443"

describe("A request with a cookie is let in when it is", () => {
  test.for(["GET", "HEAD", "POST", "DELETE", "OPTIONS"])("the page's own, by %s", (method) => {
    expect(own(method, from("same-origin"))).toBe(true)
    expect(own(method, { ...from("same-origin"), origin: `https://${HOST}` })).toBe(true)
    expect(own(method, { origin: `https://${HOST}` }), "of a browser that says no more").toBe(true)
  })

  test("the user's own doing", () => {
    for (const method of ["GET", "POST"]) expect(own(method, from("none", "navigate", "document"))).toBe(true)
  })

  test("a link that the user follows, from wherever", () => {
    for (const site of ["cross-site", "same-site"])
      for (const method of ["GET", "HEAD"]) expect(own(method, from(site, "navigate", "document"))).toBe(true)
  })

  test("a WebSocket of the page", () => {
    expect(own("GET", { upgrade: "websocket", origin: `https://${HOST}` })).toBe(true)
    expect(own("GET", { upgrade: "websocket", origin: `https://${HOST}`, ...from("same-origin", "websocket") })).toBe(
      true,
    )
  })

  test("to a host in any spelling", () => {
    const origin = `https://${HOST.replace(":7443", "")}`
    expect(own("POST", { origin }, HOST.replace("7443", "443"))).toBe(true)
    expect(own("POST", { origin }, HOST.replace(":7443", "").toUpperCase())).toBe(true)
  })
})

describe("A request with a cookie is refused when it is", () => {
  test.for(["same-site", "cross-site", "Same-Origin", "same-origin, same-origin", ""])(
    "of a page that the browser calls %j: an image, a script, a fetch, a form, a frame",
    (site) => {
      for (const dest of ["image", "script", "style", "empty", "iframe", "frame", "object", "embed", "worker"])
        for (const mode of ["no-cors", "cors", "navigate", "same-origin"])
          expect(own("GET", from(site, mode, dest)), `${mode} ${dest}`).toBe(false)
      for (const method of ["POST", "PUT", "DELETE", "OPTIONS"])
        expect(own(method, from(site, "navigate", "document")), method).toBe(false)
      expect(own("GET", { "sec-fetch-site": site })).toBe(false)
    },
  )

  test.for([
    sibling,
    "null",
    "",
    `http://${HOST}`,
    `https://${HOST}1`,
    `https://${HOST}/`,
    `https://${HOST.replace(":7443", "")}`,
    `https://3000-${HOST}`,
    `https://x@${HOST}`,
    `https://${HOST}, https://${HOST}`,
  ])("of the origin %j", (origin) => {
    for (const method of ["GET", "POST"]) {
      expect(own(method, { origin })).toBe(false)
      expect(own(method, { origin, ...from("same-origin") })).toBe(false)
      expect(own(method, { origin, ...from("none", "navigate", "document") })).toBe(false)
    }
    expect(own("GET", { origin, upgrade: "websocket" })).toBe(false)
  })

  test("one that changes something, of a browser that says nothing of where it comes from", () => {
    for (const method of ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"]) expect(own(method, {})).toBe(false)
    for (const method of ["GET", "HEAD"]) expect(own(method, {})).toBe(true)
  })

  test("a WebSocket without an origin, or one that the browser calls another's", () => {
    expect(own("GET", { upgrade: "websocket" })).toBe(false)
    expect(own("GET", { upgrade: "websocket", ...from("same-origin") })).toBe(false)
    expect(own("GET", { upgrade: "websocket", origin: `https://${HOST}`, ...from("same-site") })).toBe(false)
  })
})
