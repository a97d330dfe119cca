import { openConnection, type Connection } from "./connection.ts"

/** The connections to one VM for requests without a body, by port. */
export interface Connections {
  /** One that is free, or a new one; always a new one when it has to be. */
  take(to: ConnectionPlace, isFresh: boolean): Connection
  /** Closes all of them, in use or not. */
  destroy(): void
}

export interface ConnectionPlace {
  readonly address: string
  readonly port: number
  readonly isTls: boolean
  readonly onConnect: (ms: number) => void
}

interface Idle {
  readonly connection: Connection
  readonly until: number
}

const MAX_IDLE = 256
const IDLE_MS = 60_000
/** An application that names a time closes then: a request sent at that moment would meet the end. */
const HURRY_MS = 1000

export const createConnections = (): Connections => {
  const all = new Set<Connection>()
  /** By place; the one used last is taken first, so that those that are too many are left idle. */
  const idle = new Map<string, Idle[]>()
  let idleCount = 0
  let sweeping: NodeJS.Timeout | undefined

  const sweep = () => {
    sweeping = undefined
    const now = performance.now()
    for (const [key, places] of idle) {
      const kept = places.filter(({ connection, until }) => until > now && !connection.isOver)
      for (const { connection, until } of places) if (until <= now) connection.destroy()
      idleCount -= places.length - kept.length
      if (kept.length > 0) idle.set(key, kept)
      else idle.delete(key)
    }
    if (idleCount > 0) sweepLater()
  }
  const sweepLater = () => {
    sweeping ??= setTimeout(sweep, IDLE_MS).unref()
  }

  const keep = (key: string, connection: Connection, keepAliveMs = IDLE_MS + HURRY_MS) => {
    const idleMs = Math.min(IDLE_MS, keepAliveMs - HURRY_MS)
    if (idleMs <= 0 || idleCount >= MAX_IDLE) {
      connection.destroy()
      return
    }
    idleCount++
    const place = { connection, until: performance.now() + idleMs }
    const places = idle.get(key)
    if (places === undefined) idle.set(key, [place])
    else places.push(place)
    sweepLater()
  }

  const takeIdle = (key: string): Connection | undefined => {
    const places = idle.get(key) ?? []
    const now = performance.now()
    for (let place = places.pop(); place !== undefined; place = places.pop()) {
      idleCount--
      if (place.connection.isOver) continue
      if (place.until > now) return place.connection
      place.connection.destroy()
    }
    return undefined
  }

  return {
    take({ address, port, isTls, onConnect }, isFresh) {
      const key = `${port} ${isTls}`
      const known = isFresh ? undefined : takeIdle(key)
      if (known !== undefined) return known
      const connection: Connection = openConnection({
        address,
        port,
        isTls,
        onConnect,
        onIdle: (keepAliveMs) => keep(key, connection, keepAliveMs),
        onOver: () => void all.delete(connection),
      })
      all.add(connection)
      return connection
    },
    destroy() {
      clearTimeout(sweeping)
      for (const connection of all) connection.destroy()
    },
  }
}
