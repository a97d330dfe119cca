import { describe, expect, it } from "vitest"
import { createFrameReader, toFrame } from "../../src/agent/frames.ts"

const frame = (kind: string, content = ""): Buffer => toFrame(kind.charCodeAt(0), Buffer.from(content))

describe("Frames", () => {
  const read = (maxBytes: number, pieces: readonly Buffer[]) => {
    const found: unknown[] = []
    const take = createFrameReader(
      () => maxBytes,
      (kind, content) => found.push([String.fromCharCode(kind), content === undefined ? undefined : String(content)]),
    )
    for (const piece of pieces) take(piece)
    return found
  }

  it("are found wherever they are cut, and what is too long is passed over", () => {
    const bytes = Buffer.concat([frame("a", "1"), frame("b"), frame("c", "too long"), frame("d", "2345"), frame("e")])
    const expected = [
      ["a", "1"],
      ["b", ""],
      ["c", undefined],
      ["d", "2345"],
      ["e", ""],
    ]
    expect(read(4, [bytes])).toEqual(expected)
    expect(
      read(
        4,
        [...bytes].map((byte) => Buffer.of(byte)),
      ),
    ).toEqual(expected)
    for (let size = 2; size < 12; size++) {
      const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) =>
        bytes.subarray(at * size, (at + 1) * size),
      )
      expect(read(4, pieces)).toEqual(expected)
    }
  })
})
