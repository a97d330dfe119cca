import { describe, expect, test } from "vitest"
import { plan, planOf } from "./planning.ts"

describe("The running image", () => {
  const start = async (...lines: string[]) =>
    (await planOf(["FROM torpor/debian:13", ...lines].join("\n"))).settings.argv
  test.for<[lines: string[], argv: string[]]>([
    [["CMD a b"], ["/bin/sh", "-c", "a b"]],
    [['CMD ["a", "b"]'], ["a", "b"]],
    [["CMD a", 'CMD ["b"]'], ["b"]],
    [['ENTRYPOINT ["e"]'], ["e"]],
    [
      ['ENTRYPOINT ["e"]', 'CMD ["c"]'],
      ["e", "c"],
    ],
    [
      ['CMD ["c"]', 'ENTRYPOINT ["e"]'],
      ["e", "c"],
    ],
    [
      ['ENTRYPOINT ["e"]', "CMD c"],
      ["e", "/bin/sh", "-c", "c"],
    ],
    [
      ["ENTRYPOINT e f", 'CMD ["c"]'],
      ["/bin/sh", "-c", "e f", "c"],
    ],
    [["ENTRYPOINT e", "ENTRYPOINT []", 'CMD ["c"]'], ["c"]],
    [["CMD ['c']"], ["/bin/sh", "-c", "['c']"]],
  ])("starts by %s", async ([lines, argv]) => expect(await start(...lines)).toEqual(argv))

  test.for<[line: string, ports: number[]]>([
    ["EXPOSE 80", [80]],
    ["EXPOSE 80/tcp 53/udp 9/sctp", [80]],
    ["EXPOSE 8080 80 8080/TCP", [8080, 80]],
    ["EXPOSE 7000-7002/tcp", [7000, 7001, 7002]],
    ['ENV P="1 2"\nEXPOSE $P', [1, 2]],
  ])("%s", async ([line, ports]) => expect((await plan(line)).settings.exposedPorts).toEqual(ports))

  test("has its labels, the last of a name", async () => {
    expect((await plan('LABEL a=1 b.c="two words"', "LABEL a=2", "LABEL old a b")).settings.labels).toEqual({
      a: "2",
      "b.c": "two words",
      old: "a b",
    })
  })
})
