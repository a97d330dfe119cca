import { describe, expect, test } from "vitest"
import { parseFileMode } from "../../images/file-mode.ts"

const octal = (mode: number) => mode.toString(8)

describe("What --chmod says", () => {
  test.for<[text: string, before: number, file: number, directory: number]>([
    ["755", 0o644, 0o755, 0o755],
    ["0600", 0o4755, 0o600, 0o600],
    ["u+x", 0o644, 0o744, 0o744],
    ["+x", 0o644, 0o755, 0o755],
    ["a-w", 0o666, 0o444, 0o444],
    ["go-rwx", 0o755, 0o700, 0o700],
    ["u=rwX,go=rX", 0o600, 0o644, 0o755],
    ["u=rwX,go=rX", 0o711, 0o755, 0o755],
    ["g=u", 0o640, 0o660, 0o660],
    ["o+g", 0o650, 0o655, 0o655],
    ["u+s,g+s,+t", 0o755, 0o7755, 0o7755],
    ["u=rw-w+x", 0o000, 0o500, 0o500],
    ["u=", 0o777, 0o077, 0o077],
    ["u=rwx", 0o4755, 0o755, 0o4755],
  ])("%s makes of a mode another", ([text, before, file, directory]) => {
    const mode = parseFileMode(text)!
    expect(octal(mode(before, false))).toBe(octal(file))
    expect(octal(mode(before, true))).toBe(octal(directory))
  })

  test.for(["", "8", "17777", "644,u+x", "u", "u+q", "u+x,", ",u+x", "x+r", "ug=uo", "u+x,".repeat(20) + "u+x"])(
    "is not %s",
    (text) => expect(parseFileMode(text)).toBeUndefined(),
  )
})
