import { createHash, X509Certificate } from "node:crypto"
import { existsSync } from "node:fs"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { launch, type Browser, type BrowserContext } from "puppeteer-core"
import { ECHO } from "../../fixtures/clients-app/websocket.ts"
import { eventually } from "../../fixtures/eventually.ts"
import { type Ground } from "./ground.ts"
import { openOwnNetwork, type OwnNetwork } from "./own-network.ts"

/** Where Debian's package has it; Ubuntu has a snap instead. */
const CHROMIUM = "/usr/bin/chromium-headless-shell"
const isInstalled = existsSync(CHROMIUM)
if (!isInstalled) console.warn(`The browser's tests are skipped: there is no ${CHROMIUM}.`)

/** What a page tries on another's origin, as a function of the browser's. */
const TRY = `async (to) => {
  const outcome = (work) => work.then((value) => "got " + value, () => "refused")
  const frame = document.createElement("iframe")
  frame.src = to + "empty"
  const loaded = new Promise((resolve) => (frame.onload = resolve))
  document.body.append(frame)
  await loaded
  const socket = new WebSocket(to.replace("https", "wss") + "socket")
  const opened = new Promise((resolve) => {
    socket.onopen = () => resolve("open")
    socket.onerror = () => resolve("refused")
  })
  const driving = { method: "POST", mode: "no-cors", credentials: "include" }
  return {
    read: await outcome(fetch(to + "seen", { credentials: "include" }).then((response) => response.text())),
    driven: await outcome(fetch(to + "say?name=driven&text=x", driving).then(({ type }) => type)),
    socket: await opened,
    frame: frame.contentDocument === null ? "unreadable" : "readable",
  }
}`

export const describeBrowser = (ground: () => Ground): void => {
  describe.skipIf(!isInstalled)("A browser", () => {
    const opened = new AsyncDisposableStack()
    let browser: Browser
    let network: OwnNetwork
    beforeAll(async () => {
      network = opened.use(await openOwnNetwork(Number(new URL(url("vm")).port)))
      const spki = new X509Certificate(ground().ca).publicKey.export({ type: "spki", format: "der" })
      const pin = createHash("sha256").update(spki).digest("base64")
      browser = await launch({
        executablePath: await network.wrap(CHROMIUM),
        // No port of a loopback that isn't ours.
        pipe: true,
        timeout: 120_000,
        // Its sandbox refuses root. The installation's own CA alone is trusted, by its key: any other certificate is refused as ever.
        args: ["--no-sandbox", `--ignore-certificate-errors-spki-list=${pin}`],
      })
      opened.defer(() => browser.close())
    })
    afterAll(() => opened.disposeAsync())

    const inContext = async (use: (context: BrowserContext) => Promise<void>) => {
      const context = await browser.createBrowserContext()
      await use(context)
      await context.close()
    }
    const newPage = async (context: BrowserContext) => {
      const page = await context.newPage()
      page.setDefaultTimeout(60_000)
      return page
    }
    const url = (to: "vm" | "neighbour", path = "/") => `https://${ground()[to].name}${path}`
    const enter = async (context: BrowserContext, to: "vm" | "neighbour", path: string) => {
      const page = await newPage(context)
      const response = await page.goto(await ground().link(to, path))
      expect(response?.status()).toBe(200)
      expect(page.url()).toBe(url(to, path))
      return page
    }

    test("opens a link, and the page gets its style, its script, its image, its answers, its events and its WebSocket", () =>
      inContext(async (context) => {
        const page = await enter(context, "vm", "/")
        const handle = await page.waitForFunction("window.found")
        const found = (await handle.jsonValue()) as Record<string, unknown> & { seen: { headers: object } }
        expect(found).toMatchObject({
          seen: { method: "POST", bytes: 11 },
          socket: { protocol: ECHO, echo: "from a page" },
          said: "from a stream",
          colour: "rgb(1, 2, 3)",
          image: 40,
          // No script reads what lets it in.
          cookie: "",
        })
        expect(found.seen.headers).not.toHaveProperty("cookie")
      }))

    test("without a link, or with one that was opened, is refused", () =>
      inContext(async (context) => {
        const page = await newPage(context)
        expect((await page.goto(url("vm")))?.status()).toBe(403)
        const link = await ground().link("vm", "/empty")
        expect((await page.goto(link))?.status()).toBe(200)
        await inContext(async (other) => expect((await (await newPage(other)).goto(link))?.status()).toBe(403))
      }))

    test("that has entered both lets the page of one neither read nor drive the other", () =>
      inContext(async (context) => {
        await enter(context, "neighbour", "/empty")
        const page = await enter(context, "vm", "/empty")
        const statuses: number[] = []
        page.on("response", (response) => {
          if (response.url().startsWith(url("neighbour"))) statuses.push(response.status())
        })
        const tried = await page.evaluate(`(${TRY})("${url("neighbour")}")`)
        // What is sent without asking back is told nothing, and refused all the same.
        expect(tried).toEqual({ read: "refused", driven: "got opaque", socket: "refused", frame: "unreadable" })
        // The frame's and the form's; of a fetch that CORS refuses, and of a WebSocket, nobody is told the status.
        await eventually(() => expect(statuses.length).toBeGreaterThanOrEqual(2))
        expect(new Set(statuses)).toEqual(new Set([403]))
      }))
  })
}
