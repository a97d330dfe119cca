/** The page that a person sees where a program would read `x-aws-proxy-error`: what happened, and what to do. */
import type { EdgeErrorCode } from "./errors.ts"

interface Words {
  readonly title: string
  readonly happened: string
  readonly advice: string
}

const OPEN_AGAIN = "Ask whoever gave you this address for a new link, and open it in this browser."
const WAIT = "Wait a moment and reload this page."
const TOO_MUCH: Words = {
  title: "Too much at once",
  happened: "This machine, or the token that you use, has as many requests or connections open as it may have.",
  advice: WAIT,
}
const MALFORMED: Words = {
  title: "A malformed request",
  happened: "The request was not put in a way that can be passed on safely.",
  advice:
    "If you typed the address, compare it with the one that you were given. If a program made it, look at what it sends.",
}

const words: Readonly<Record<EdgeErrorCode, Words>> = {
  MISSING_AUTHENTICATION: {
    title: "You are not signed in",
    happened: "This machine lets in only those who bring a token, and this browser brought none that is good.",
    advice: OPEN_AGAIN,
  },
  AUTHENTICATION_FAILED: {
    title: "Your access is not good here",
    happened: "The token has expired, or it is for another machine, or this machine is gone.",
    advice: OPEN_AGAIN,
  },
  PORT_DENIED: {
    title: "Not this port",
    happened: "Your token is good for this machine, but not for the port that this address leads to.",
    advice: "Ask for a link to this port.",
  },
  FOREIGN_PAGE: {
    title: "Not from another page",
    happened: "A page of another address sent this request with your access to this machine, and was stopped.",
    advice: "If you meant to come here, open the address yourself.",
  },
  LINK_OVER: {
    title: "This link is over",
    happened: "A link is good once, and for a minute: this one was used before, or waited longer.",
    advice: OPEN_AGAIN,
  },
  BAD_PORT: MALFORMED,
  BAD_SUBPROTOCOL: MALFORMED,
  BAD_REQUEST: MALFORMED,
  TOO_MANY_REQUESTS: TOO_MUCH,
  TOO_MANY_REQUESTS_OF_TOKEN: TOO_MUCH,
  TOO_MANY_REQUESTS_PER_SECOND: TOO_MUCH,
  TOO_MANY_CONNECTIONS: TOO_MUCH,
  TOO_MANY_CONNECTIONS_OF_TOKEN: TOO_MUCH,
  OVERLOADED: {
    title: "Too much at once",
    happened: "The server has as many requests open as it can hold.",
    advice: WAIT,
  },
  NO_WEBSOCKETS: {
    title: "No WebSockets here",
    happened: "This address is a function's: it is asked and answers, and holds no connection open.",
    advice: "Use plain requests, or a response that the function streams.",
  },
  BODY_TIMEOUT: {
    title: "Too slow",
    happened: "What was being sent stopped coming before all of it was here.",
    advice: "Send it again over a steadier connection, or in smaller parts.",
  },
  URLS_OVERLOADED: {
    title: "Too much at once",
    happened: "The server has as many requests to functions open, or as much of them in memory, as it can hold.",
    advice: WAIT,
  },
  APP_CONNECT_FAILED: {
    title: "The application does not answer",
    happened:
      "The machine is awake, but nothing on it listens on this port, what listens hung up before it answered, or the machine was too busy to take a connection within five seconds.",
    advice:
      "It may still be starting: reload this page in a moment. If that doesn't help, look at the application's log.",
  },
  TERMINATED: {
    title: "This machine is over",
    happened: "It was ended, or it lived as long as it was allowed to. It does not come back.",
    advice: "Start another one.",
  },
  SUSPENDED: {
    title: "This machine is asleep",
    happened: "It was put to sleep, and it does not wake for a request.",
    advice: "Resume it with ResumeMicrovm, then reload this page.",
  },
  RESUME_FAILED: {
    title: "This machine could not be woken",
    happened: "It was asleep, and it did not come back in time for your request.",
    advice: "Reload this page. If that doesn't help, GetMicrovm tells its state and the reason.",
  },
  DISCONNECTED: {
    title: "This machine went away",
    happened: "It ended, or was put to sleep, before it had answered your request.",
    advice: "Reload this page. If that doesn't help, GetMicrovm tells its state and the reason.",
  },
  INTERNAL: {
    title: "A fault of the server",
    happened: "Something went wrong that is not yours to mend.",
    advice: "Reload this page. If that doesn't help, give the request's id below to whoever runs this server.",
  },
}

/** Whether a client would show a page: a browser that opens an address says so. */
export const wantsPage = (accept: string | undefined): boolean =>
  /(?:^|[,\s])text\/html(?:$|[,;\s])/i.test(accept ?? "")

/** HTML, with nothing in it that a client sent. */
export const toPage = (code: EdgeErrorCode, status: number, name: string, requestId: string): string => {
  const { title, happened, advice } = words[code]
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${title}</title>
<style>
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 36rem; margin: 15vh auto; padding: 0 1rem; color-scheme: light dark }
footer { font: .8rem ui-monospace, monospace; opacity: .6; margin-top: 3rem }
</style>
<h1>${title}</h1>
<p>${happened}</p>
<p>${advice}</p>
<footer>${status} ${name} · ${requestId}</footer>
</html>
`
}
