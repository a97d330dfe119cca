import { describe, expect, test } from "vitest"
import type { Mount } from "../../../images/dockerfile/mount.ts"
import { imagesOf, planOf, refusal, runs } from "./planning.ts"

const CONTEXT = { kind: "context" } as const
const BIND = { kind: "bind", from: CONTEXT, source: "/", writable: false } as const
const CACHE = {
  kind: "cache",
  from: null,
  source: "/",
  sharing: "shared",
  mode: 0o755,
  uid: 0,
  gid: 0,
  writable: true,
} as const
const SECRET = { kind: "secret", variable: null, required: false, mode: 0o400, uid: 0, gid: 0 } as const

describe("RUN --mount", () => {
  test.for<[mount: string, found: Mount]>([
    ["target=/x", { ...BIND, target: "/x" }],
    ["type=bind,target=x", { ...BIND, target: "/w/x" }],
    ["type=BIND,dst=/x/", { ...BIND, target: "/x" }],
    ["type=bind,destination=/x,src=a/../b", { ...BIND, target: "/x", source: "/b" }],
    ["type=bind,target=/x,source=../../a", { ...BIND, target: "/x", source: "/a" }],
    ["target=/x,rw", { ...BIND, target: "/x", writable: true }],
    ["target=/x,readwrite=true", { ...BIND, target: "/x", writable: true }],
    ["target=/x,ro=false", { ...BIND, target: "/x", writable: true }],
    ["target=/x,readonly", { ...BIND, target: "/x" }],
    ["target=/x,from=torpor/debian:13", { ...BIND, target: "/x", from: { kind: "stage", stage: 0 } }],
    ["target=/$V/${V:-none}", { ...BIND, target: "/a/a" }],
    ["type=cache,target=/root/.cache", { ...CACHE, target: "/root/.cache", id: "/root/.cache" }],
    ["type=cache,target=/c,id=$V-pip", { ...CACHE, target: "/c", id: "a-pip" }],
    ["type=cache,target=/c,sharing=locked", { ...CACHE, target: "/c", id: "/c", sharing: "locked" }],
    [
      "type=cache,target=/c,sharing=private,ro",
      { ...CACHE, target: "/c", id: "/c", sharing: "private", writable: false },
    ],
    [
      "type=cache,target=/c,mode=0777,uid=1000,gid=50",
      { ...CACHE, target: "/c", id: "/c", mode: 0o777, uid: 1000, gid: 50 },
    ],
    [
      "type=cache,target=/c,from=torpor/debian:13,source=/etc",
      { ...CACHE, target: "/c", id: "/c", from: { kind: "stage", stage: 0 }, source: "/etc" },
    ],
    ["type=tmpfs,target=/t", { kind: "tmpfs", target: "/t", sizeBytes: null }],
    ["type=tmpfs,target=/t,size=64m", { kind: "tmpfs", target: "/t", sizeBytes: 64 * 1024 ** 2 }],
    ["type=tmpfs,target=/t,size=1.5GB", { kind: "tmpfs", target: "/t", sizeBytes: 1.5 * 1024 ** 3 }],
    ["type=secret,id=aws", { ...SECRET, id: "aws", target: "/run/secrets/aws" }],
    ["type=secret,id=aws,target=/root/.aws/credentials", { ...SECRET, id: "aws", target: "/root/.aws/credentials" }],
    ["type=secret,target=/etc/token", { ...SECRET, id: "token", target: "/etc/token" }],
    ["type=secret,id=key,env=API_KEY", { ...SECRET, id: "key", target: null, variable: "API_KEY" }],
    ["type=secret,id=key,env=API_KEY,dst=/k", { ...SECRET, id: "key", target: "/k", variable: "API_KEY" }],
    ["type=secret,id=key,required", { ...SECRET, id: "key", target: "/run/secrets/key", required: true }],
    [
      "type=secret,id=key,required=false,mode=0440,uid=1,gid=2",
      { ...SECRET, id: "key", target: "/run/secrets/key", mode: 0o440, uid: 1, gid: 2 },
    ],
    ['target="/a b"', { ...BIND, target: "/a b" }],
  ])("=%s", async ([mount, found]) => {
    expect((await runs("WORKDIR /w", "ARG V=a", `RUN --mount=${mount} x`))[0]?.mounts).toEqual([found])
  })

  test("may be there many times, beside --network", async () => {
    const [step] = await runs(
      "RUN --mount=target=/a --network=none --mount=type=tmpfs,target=/b --security=sandbox -- x",
    )
    expect(step).toMatchObject({
      mounts: [{ target: "/a" }, { target: "/b" }],
      network: "none",
      argv: ["/bin/sh", "-c", "x"],
    })
    expect((await runs("RUN --network=default x"))[0]).toMatchObject({ mounts: [], network: "default" })
  })

  test("from a stage or an image is known by its place or its digest", async () => {
    const { stages } = await planOf(
      "FROM node AS a\nFROM torpor/debian:13\nRUN --mount=from=a,target=/a --mount=from=0,target=/b --mount=from=node,target=/c x\nCMD x",
      imagesOf({ node: {} }),
    )
    expect(stages[1]!.steps).toMatchObject([
      {
        mounts: [
          { from: { kind: "stage", stage: 0 } },
          { from: { kind: "stage", stage: 0 } },
          { from: { kind: "image", digest: "sha256:node" } },
        ],
      },
    ])
  })

  test.for<[mount: string, reason: string]>([
    ["type=ssh", "RUN --mount=type=ssh is not supported"],
    ["type=npipe,target=/x", "unsupported mount type 'npipe'"],
    ["type=constructor,target=/x", "unsupported mount type 'constructor'"],
    ["type=bind", "a mount of type bind requires a target"],
    ["type=cache,target=", "a mount of type cache requires a target"],
    ["type=tmpfs", "a mount of type tmpfs requires a target"],
    ["type=secret", "a mount of type secret requires an id or a target"],
    ["target=/", "invalid mount target '/'"],
    ["target=/..", "invalid mount target '/'"],
    ["target=/x,sharing=locked", "unexpected key 'sharing' in a mount of type bind"],
    ["type=tmpfs,target=/x,from=a", "unexpected key 'from' in a mount of type tmpfs"],
    ["type=cache,target=/x,colour=red", "unexpected key 'colour' in a mount of type cache"],
    ["type=cache,target=/x,sharing=often", "unsupported sharing value 'often'"],
    ["type=cache,target=/x,mode=999", "invalid value '999' for mode of a mount"],
    ["type=cache,target=/x,mode=77777", "invalid value '77777' for mode of a mount"],
    ["type=cache,target=/x,uid=root", "invalid value 'root' for uid of a mount"],
    ["type=cache,target=/x,gid=4294967295", "invalid value '4294967295' for gid of a mount"],
    ["type=tmpfs,target=/x,size=big", "invalid size 'big'"],
    ["type=tmpfs,target=/x,size=999999999999999g", "invalid size"],
    ["type=secret,id=x,env=A-B", "'A-B' is no name of a variable"],
    ["type=secret,id=x,required=maybe", "invalid value 'maybe' for required of a mount"],
    ["target=/x,ro=2", "invalid value '2' for readonly of a mount"],
    ["target", "invalid field 'target' must be a key=value pair"],
    ["target=/x,from=$V", "'$V' doesn't support variable expansion, define alias stage instead"],
    [`target=/${"x".repeat(5000)}`, "a field of a mount is longer than 4096 characters"],
  ])("=%s is refused", async ([mount, reason]) => {
    const failure = await refusal(`FROM torpor/debian:13\nRUN --mount=${mount} x\nCMD y`)
    expect(failure.message).toContain(`Dockerfile line 2: ${reason}`)
  })

  test("is there fifty times at most", async () => {
    const text = (count: number) => `FROM torpor/debian:13\nRUN ${"--mount=target=/x ".repeat(count)} x\nCMD y`
    expect((await planOf(text(50))).stages).toHaveLength(1)
    expect((await refusal(text(51))).reason).toBe("more than 50 mounts")
  })
})
