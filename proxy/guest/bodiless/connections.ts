import { openConnection, type Connection } from "./connection.ts"

/** The connections to one VM for requests without a body, by port. */
export interface Connections {
  /** One that is free and has rested no longer than that, or a new one. */
  take(to: ConnectionPlace, maxRestMs: number): Connection
  /** Closes all of them, in use or not. */
  destroy(): void
}

export interface ConnectionPlace {
  readonly address: string
  readonly port: number
  readonly connectTimeoutMs: number
  readonly isTls: boolean
  /** Never one that was used then: some applications take no upgrade behind another request. */
  readonly isForUpgrade: boolean
  readonly onConnect: (ms: number) => void
}

interface Idle {
  readonly connection: Connection
  readonly since: number
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

  /** Closes those that were idle for long enough. */
  const sweep = () => {
    sweeping = undefined
    const now = performance.now()
    for (const places of idle.values())
      for (const { connection } of places.filter(({ until }) => until <= now)) connection.destroy()
    if (idleCount > 0) sweepLater()
  }
  const sweepLater = () => {
    sweeping ??= setTimeout(sweep, IDLE_MS).unref()
  }

  /** A connection that is over is none that could be taken, nor one of those that are too many. */
  const forget = (key: string, connection: Connection) => {
    all.delete(connection)
    const places = idle.get(key) ?? []
    const at = places.findIndex((place) => place.connection === connection)
    if (at < 0) return
    places.splice(at, 1)
    idleCount--
    if (places.length === 0) idle.delete(key)
  }

  const keep = (key: string, connection: Connection, keepAliveMs = IDLE_MS + HURRY_MS) => {
    const idleMs = Math.min(IDLE_MS, keepAliveMs - HURRY_MS)
    if (idleMs <= 0 || idleCount >= MAX_IDLE) {
      connection.destroy()
      return
    }
    idleCount++
    const since = performance.now()
    const place = { connection, since, until: since + idleMs }
    const places = idle.get(key)
    if (places === undefined) idle.set(key, [place])
    else places.push(place)
    sweepLater()
  }

  const takeIdle = (key: string, maxRestMs: number): Connection | undefined => {
    const places = idle.get(key) ?? []
    const now = performance.now()
    for (let place = places.at(-1); place !== undefined; place = places.at(-1)) {
      if (now - place.since >= maxRestMs) return undefined
      places.pop()
      idleCount--
      if (place.connection.isOver) continue
      if (place.until > now) return place.connection
      place.connection.destroy()
    }
    idle.delete(key)
    return undefined
  }

  return {
    take({ address, port, connectTimeoutMs, isTls, isForUpgrade, onConnect }, maxRestMs) {
      const key = `${port} ${isTls}`
      const known = isForUpgrade ? undefined : takeIdle(key, maxRestMs)
      if (known !== undefined) return known
      const connection: Connection = openConnection({
        address,
        port,
        connectTimeoutMs,
        isTls,
        onConnect,
        onIdle: (keepAliveMs) => keep(key, connection, keepAliveMs),
        onOver: () => forget(key, connection),
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
