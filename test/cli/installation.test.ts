/** The real apt and dpkg of this machine, in an overlay of its root, with a repository of packages that hold nothing but their names. */
import { createHash } from "node:crypto"
import { mkdir, readFile, stat, writeFile } from "node:fs/promises"
import { basename, join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { neededPackages } from "../../src/cli/setup/packages.ts"
import { makePackage, makeScratchRoot, type ScratchRoot } from "./scratch-root.ts"
import { PLAIN, torpor } from "./torpor.ts"

let root: ScratchRoot

const SUITES = {
  bookworm: [
    { name: "nftables", version: "99" },
    { name: "bubblewrap", version: "99" },
    { name: "qemu-system-x86", version: "1:7.2+dfsg-7" },
    {
      name: "postgresql",
      version: "99",
      preinst: "grep -q '^create_main_cluster = false$' /etc/postgresql-common/createcluster.conf",
    },
  ],
  "bookworm-backports": [
    { name: "nftables", version: "100" },
    { name: "qemu-system-x86", version: "1:10.0.2+ds-2~bpo12+1" },
  ],
  trixie: [{ name: "qemu-system-x86", version: "1:10.0.2+ds-2+deb13u1" }],
  "trixie-backports": [{ name: "qemu-system-x86", version: "1:10.2.0+ds-1~bpo13+1" }],
  noble: [{ name: "qemu-system-x86", version: "1:8.2.2+ds-0ubuntu1" }],
}

beforeAll(async () => {
  root = await makeScratchRoot()
  for (const [suite, packages] of Object.entries(SUITES)) {
    const index = join(root.files, "dists", suite, "main/binary-amd64")
    await mkdir(index, { recursive: true })
    await mkdir(join(root.files, suite))
    let text = ""
    for (const each of packages) {
      const file = await makePackage(join(root.files, suite), each)
      const content = await readFile(file)
      const sum = createHash("sha256").update(content).digest("hex")
      text += `Package: ${each.name}\nVersion: ${each.version}\nArchitecture: amd64\nMaintainer: nobody\nDescription: none\nFilename: ${suite}/${basename(file)}\nSize: ${(await stat(file)).size}\nSHA256: ${sum}\n\n`
    }
    await writeFile(join(index, "Packages"), text)
    const sum = createHash("sha256").update(text).digest("hex")
    const quiet = suite.endsWith("backports") ? "NotAutomatic: yes\nButAutomaticUpgrades: yes\n" : ""
    await writeFile(
      join(root.files, "dists", suite, "Release"),
      `Suite: ${suite}\nCodename: ${suite}\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nComponents: main\nArchitectures: amd64\n${quiet}SHA256:\n ${sum} ${text.length} main/binary-amd64/Packages\n`,
    )
  }
})
afterAll(() => root?.[Symbol.asyncDispose]())

/** Shell for: a machine of Debian 12 that lacks some packages, and has these lines for sources. */
const bare = (lacking: readonly string[], sources: string, system = "ID=debian\\nVERSION_CODENAME=bookworm") => `
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /etc/apt/preferences.d/* /var/lib/apt/lists/* /etc/postgresql-common
printf '${system}\\nPRETTY_NAME="A system"\\n' > /etc/os-release
printf '${sources}' > /etc/apt/sources.list
for name in ${lacking.join(" ")}; do sed -i "/^Package: $name$/,/^$/d" /var/lib/dpkg/status; done
`
const local = (...suites: string[]) =>
  suites.map((suite) => `deb [trusted=yes] file:${root.files} ${suite} main\\n`).join("")
const setUp = (prelude: string, env: Record<string, string> = {}, epilogue = "") =>
  root.run(`${prelude}\n"$@"\n${epilogue}`, torpor("setup"), { ...PLAIN, ...env })
const installed = `dpkg-query -W -f '\${Package} \${Version}\\n' nftables qemu-system-x86`
const reasonOf = (wanted: string) => neededPackages.find(({ name }) => name === wanted)?.why ?? "nothing"

describe("Packages that are missing", () => {
  test("are named with their reasons and installed, and no more is said or done the next time", async () => {
    const { code, stdout, stderr } = await setUp(bare(["nftables", "bubblewrap"], local("bookworm")), {}, '"$@"')
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
    expect(stdout.split("\n")).toEqual([
      `${"bubblewrap".padEnd(24)} ${reasonOf("bubblewrap")}`,
      `${"nftables".padEnd(24)} ${reasonOf("nftables")}`,
      "Installing them with apt-get",
      "Set-up is complete.",
      "Set-up is complete.",
      "",
    ])
  })

  test("come from backports only where Debian 12 has them too old: its QEMU, and nothing else", async () => {
    const prelude = bare(["nftables", "qemu-system-x86"], local("bookworm", "bookworm-backports"))
    const { code, stdout, stderr } = await setUp(prelude, {}, installed)
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
    expect(stdout).toContain("nftables 99\nqemu-system-x86 1:10.0.2+ds-2~bpo12+1\n")
  })

  test.each([
    ["Debian 13", "ID=debian\\nVERSION_CODENAME=trixie", ["trixie", "trixie-backports"], "1:10.0.2+ds-2+deb13u1"],
    ["Ubuntu 24.04", "ID=ubuntu\\nVERSION_CODENAME=noble", ["noble"], "1:8.2.2+ds-0ubuntu1"],
  ])("come from the sources that %s has, its QEMU too, and none is added", async (_, system, suites, version) => {
    const prelude = bare(["qemu-system-x86"], local(...suites), system)
    const { code, stdout, stderr } = await setUp(prelude, {}, `${installed}\nls /etc/apt/sources.list.d`)
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
    // No file of sources is listed after them.
    expect(stdout.split("\n").slice(-3)).toEqual([
      expect.stringMatching(/^nftables /),
      `qemu-system-x86 ${version}`,
      "",
    ])
  })

  test("bring no Postgres cluster of their own with them", async () => {
    const { code, stdout, stderr } = await setUp(bare(["postgresql"], local("bookworm")))
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
    expect(stdout).toContain("createcluster.conf: Torpor makes its own Postgres cluster\n")
  })

  test("are looked for also when a source that isn't needed is away", async () => {
    const away = "deb [trusted=yes] file:/nowhere else main\\n"
    const { code, stdout } = await setUp(bare(["nftables"], local("bookworm") + away))
    expect({ code, end: stdout.split("\n").at(-2) }).toEqual({ code: 0, end: "Set-up is complete." })
  })
})

describe("What only the tests need", () => {
  const missing = async (system: string | undefined, ...options: string[]) => {
    const prelude = bare(["runc", "chromium-headless-shell"], local("bookworm"), system)
    const command = torpor("setup", ...options)
    return root.run(`${prelude}\n"$@"`, command, { ...PLAIN, TORPOR_NO_INSTALL: "1" })
  }

  test("is not missed by a set-up for the daemon alone", async () => {
    expect(await missing(undefined)).toEqual({ code: 0, stdout: "Set-up is complete.\n", stderr: "" })
  })

  test.each([
    ["Debian", undefined, "runc, chromium-headless-shell"],
    ["Ubuntu, whose browser is no package", "ID=ubuntu\\nVERSION_CODENAME=noble", "runc"],
  ])("is missed by one for the tests: on %s", async (_, system, names) => {
    const { code, stderr } = await missing(system, "--tests")
    expect(stderr).toContain(`These packages are missing: ${names}. TORPOR_NO_INSTALL is set`)
    expect(code).toBe(1)
  })
})

describe("With TORPOR_NO_INSTALL=1", () => {
  const once = { TORPOR_NO_INSTALL: "1" }

  test("the exact command is printed and nothing is installed; a shell that runs it completes the set-up", async () => {
    const prelude = bare(["nftables", "qemu-system-x86", "postgresql"], local("bookworm", "bookworm-backports"))
    const refused = await setUp(prelude, once)
    expect(refused.code).toBe(1)
    expect(refused.stdout).toBe("")
    expect(refused.stderr).toMatch(
      /^These packages are missing: qemu-system-x86, postgresql, nftables\. TORPOR_NO_INSTALL is set, so install them yourself:\n {2}mkdir -p /,
    )
    const command = refused.stderr.split("\n").slice(1).join("\n")
    const followed = await root.run(
      `${prelude}\n! "$@" 2>/dev/null\n(${command}) >/dev/null\n"$@"\n${installed}`,
      torpor("setup"),
      { ...PLAIN, ...once },
    )
    expect(followed.stdout).toBe("Set-up is complete.\nnftables 99\nqemu-system-x86 1:10.0.2+ds-2~bpo12+1\n")
    expect(followed.code).toBe(0)
  })

  test("backports are added from the mirror that the machine has, unless it has them", async () => {
    const sources = "deb [trusted=yes] http://mirror.example/debian bookworm main\\n"
    const { code, stderr } = await setUp(bare(["qemu-system-x86"], sources), once)
    expect(code).toBe(1)
    expect(stderr).toContain(
      "'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror.example/debian/ bookworm-backports main' > /etc/apt/sources.list.d/torpor-backports.list",
    )
    const has = await setUp(bare(["qemu-system-x86"], local("bookworm", "bookworm-backports")), once)
    expect(has.stderr).not.toContain("sources.list.d")
    expect(has.stderr).toContain("-t bookworm-backports qemu-system-x86")
  })

  test("a machine that lacks nothing is set up all the same", async () => {
    expect(await setUp("", once)).toEqual({ code: 0, stdout: "Set-up is complete.\n", stderr: "" })
  })
})

describe("What cannot be installed is one sentence", () => {
  const refused = async (prelude: string, words: RegExp) => {
    const { code, stderr } = await setUp(prelude)
    expect(stderr).toMatch(words)
    expect(stderr.trim().split("\n"), "one line").toHaveLength(1)
    expect(code).toBe(1)
  }

  test("without a package mirror", () =>
    refused(
      bare(["nftables"], "deb [trusted=yes] http://127.0.0.1:9/debian bookworm main\\n"),
      /^The package mirror cannot be reached \(E: .*127\.0\.0\.1:9.*\): check the network and \/etc\/apt\/sources\.list\.d, then try again\.$/m,
    ))

  test("without any source", () => refused(bare(["nftables"], ""), /^apt-get failed: E: .*nftables/))

  test("on another system", () =>
    refused(
      `${bare(["nftables"], "", "ID=fedora")}\nmv /usr/bin/apt-get /usr/bin/apt-got`,
      /^A system has no apt-get: Torpor's set-up knows Debian 12 and 13 and Ubuntu 24\.04\. Install what they call nftables\.$/m,
    ))

  test("on an Ubuntu whose QEMU is too old", () =>
    refused(
      `${bare(["qemu-system-x86"], local("bookworm"), "ID=ubuntu\\nVERSION_CODENAME=jammy")}\napt-get -qq update`,
      /^This distribution offers QEMU 1:7\.2\+dfsg-7, and Torpor needs 8\.2 or newer: use Debian 12 or 13, or Ubuntu 24\.04\.$/m,
    ))
})
