import { pino } from "pino"

export type Log = pino.Logger

/** The daemon's JSON log on stderr. Secrets never reach it: what carries one is redacted by name here, once. */
export const createLog = (level: string): Log =>
  pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: {
        paths: [
          "secret",
          "*.secret",
          "secretAccessKey",
          "*.secretAccessKey",
          "authToken",
          "*.authToken",
          "runHookPayload",
        ],
        censor: "[redacted]",
      },
    },
    pino.destination(2),
  )
