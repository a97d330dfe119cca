/**
 * What host and guest say to each other. The guest is hostile: every answer is bounded in size and time and parsed with these schemas.
 *
 * Three channels, by their cost on the way to the first answer:
 * - `thaw` port (virtio-serial 1): one line each way to the native helper. The only thing on the hot path.
 *     host:  `T <unixNanoseconds> <hostname> <machineId 32 hex> <entropy 128 hex> <secret 64 hex> <incarnation>`   set all, then unfreeze
 *     host:  `F`                                                                                                    freeze the application, sync nothing
 *     guest: `OK` or `ERR <words>`
 * - `agent` port (virtio-serial 2): lines of JSON from the guest only ({@link AgentEvent}); a guest that says nothing costs nothing.
 * - TCP to the guest's agent port: HTTP/2 (prior knowledge), `authorization: Bearer <secret>`, for all the rest.
 */
import { z } from "zod"

export const AGENT_PROTOCOL = 1

/** Events on the agent port, one JSON object a line, at most {@link EVENT_LINE_MAX} bytes. */
export const AgentEvent = z.discriminatedUnion("event", [
  z.object({ event: z.literal("hello"), protocol: z.number().int(), agent: z.string().max(64) }),
  z.object({ event: z.literal("exited"), process: z.string().max(64), code: z.number().int().nullable(), signal: z.string().max(16).nullable() }),
])
export type AgentEvent = z.infer<typeof AgentEvent>
export const EVENT_LINE_MAX = 4096

/** `PUT /processes/{name}`: starts a named process tree in the application's container (`app`), or a build step in one of its own. */
export const ProcessSpec = z.object({
  argv: z.array(z.string()).min(1),
  env: z.record(z.string(), z.string()),
  cwd: z.string(),
  /** `name`, `uid`, `name:group` … as in a Dockerfile; resolved in the image's own /etc/passwd. */
  user: z.string(),
  /** `["ALL"]` or Docker's defaults. */
  capabilities: z.enum(["default", "all"]),
  /** The application's cgroup limit; `null` is all of the guest's memory. */
  memoryMaxMiB: z.number().int().positive().nullable(),
  /** Which container it runs in: `app` is frozen before snapshots and reached by users, `build` is gone when it ends. */
  container: z.enum(["app", "build"]),
})
export type ProcessSpec = z.infer<typeof ProcessSpec>

/** `GET /processes/{name}`. */
export const ProcessState = z.object({
  name: z.string().max(64),
  state: z.enum(["running", "exited"]),
  code: z.number().int().nullable(),
  signal: z.string().max(16).nullable(),
})
export type ProcessState = z.infer<typeof ProcessState>

/** `GET /processes/{name}/output?follow=1`: frames as lines of JSON, base64 data, ending with `{end}` when followed to the end. */
export const OutputFrame = z.union([
  z.object({ stream: z.enum(["stdout", "stderr"]), at: z.number(), data: z.string() }),
  z.object({ end: ProcessState }),
])
export type OutputFrame = z.infer<typeof OutputFrame>
