import { execFile } from "node:child_process"
import { promisify } from "node:util"
import { SignatureV4 } from "@smithy/signature-v4"
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { Sha256 } from "../../../src/sha256.ts"
import type { PolicyStatement } from "../../../src/db/function-values.ts"
import type { UrlEvent } from "./fake-invoker.ts"
import { keys, openUrlEdge, owner, protocols, publicPolicy, region, stranger, type UrlEdge } from "./url-edge.ts"

const FORBIDDEN = JSON.stringify({
  Message:
    "Forbidden. For troubleshooting Function URL authorization issues, see: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html",
})

let edge: UrlEdge
let event: UrlEvent | undefined
beforeAll(async () => void (edge = await openUrlEdge()))
afterAll(() => edge?.[Symbol.asyncDispose]())
beforeEach(() => {
  event = undefined
  edge.answers((given) => {
    event = given
    return "in"
  })
  Object.assign(edge.settings, { authType: "NONE", statements: publicPolicy })
})

interface Signing {
  readonly key?: string
  readonly secret?: string
  readonly region?: string
  readonly service?: string
  readonly at?: Date
  readonly method?: string
  readonly path?: string
  readonly query?: Record<string, string>
  readonly body?: string
  readonly headers?: Record<string, string>
}

const signerOf = ({ key = "AKIAOWNER", ...signing }: Signing) =>
  new SignatureV4({
    service: signing.service ?? "lambda",
    region: signing.region ?? region,
    credentials: { accessKeyId: key, secretAccessKey: signing.secret ?? keys[key]?.secret ?? "" },
    sha256: Sha256,
  })

/** The headers of a request that an official client's signer has signed. */
const sign = async (signing: Signing): Promise<Record<string, string>> => {
  const { method = "GET", path = "/", query = {}, body } = signing
  const request = {
    method,
    protocol: "https:",
    hostname: edge.name,
    port: edge.port,
    path,
    query,
    headers: { host: `${edge.name}:${edge.port}`, ...signing.headers },
    ...(body === undefined ? {} : { body }),
  }
  const { headers } = await signerOf(signing).sign(request, signing.at === undefined ? {} : { signingDate: signing.at })
  return headers
}

const refusal = ({
  status,
  headers,
  body,
}: {
  status: number
  headers: Record<string, string | string[] | undefined>
  body: string
}) => [status, headers["x-amzn-errortype"], body]

describe.each(protocols)("Over %s", (protocol) => {
  test("an address that is nobody's says so in AWS's words, whatever it looks like", async () => {
    for (const label of ["a".repeat(32), "b", "A".repeat(32)]) {
      const answer = await edge.ask(protocol, { host: `${label}.lambda-url.localhost` })
      expect(refusal(answer)).toEqual([403, "AccessDeniedException", '{"Message":null}'])
      expect(answer.headers["content-type"]).toBe("application/json")
    }
  })

  test("a URL for anybody needs its policy to let anybody in, to the URL and to the function", async () => {
    expect((await edge.ask(protocol)).body).toBe("in")
    for (const statements of [[], publicPolicy.slice(0, 1), publicPolicy.slice(1)]) {
      edge.settings.statements = statements
      expect(refusal(await edge.ask(protocol, { method: "POST", body: "x" }))).toEqual([
        403,
        "AccessDeniedException",
        FORBIDDEN,
      ])
    }
  })

  describe("a URL for signers", () => {
    beforeEach(() => void Object.assign(edge.settings, { authType: "AWS_IAM", statements: [] }))

    test("lets in its own account's, and the function is told who it was, not the signature", async () => {
      const [query, body] = [{ a: "1 2", b: "é/+" }, '{"x":1}']
      const path = "/a%20b/c/%C3%A9"
      const good = await edge.ask(protocol, {
        method: "POST",
        path: `${path}?b=%C3%A9%2F%2B&a=1%202`,
        headers: await sign({ method: "POST", path, query, body, headers: { cookie: "a=1; b=2" } }),
        body,
      })
      expect([good.status, good.body]).toEqual([200, "in"])
      expect(event?.requestContext).toMatchObject({
        accountId: owner,
        authorizer: {
          iam: {
            accessKey: "AKIAOWNER",
            accountId: owner,
            callerId: owner,
            cognitoIdentity: null,
            principalOrgId: null,
            userArn: `arn:aws:iam::${owner}:root`,
            userId: owner,
          },
        },
      })
      expect(event?.headers).not.toHaveProperty("authorization")
      expect(event?.headers["x-amz-date"]).toMatch(/^\d{8}T/)
      expect(event?.rawPath).toBe(path)
    })

    test("keeps out who hasn't signed, though the policy lets anybody in", async () => {
      edge.settings.statements = publicPolicy
      expect(refusal(await edge.ask(protocol))).toEqual([403, "AccessDeniedException", FORBIDDEN])
    })

    test("keeps out another account's, unless the policy lets it in", async () => {
      const ask = async () => edge.ask(protocol, { headers: await sign({ key: "AKIASTRANGER" }) })
      const forAll = {
        Principal: "*",
        Condition: { StringEquals: { "lambda:FunctionUrlAuthType": "AWS_IAM" } },
      } as const
      const forStranger = { Principal: { AWS: `arn:aws:iam::${stranger}:root` } } as const
      const allow = (Action: string, more: Partial<PolicyStatement>): PolicyStatement => ({
        Sid: Action,
        Effect: "Allow",
        Principal: "*",
        Resource: "*",
        Action,
        ...more,
      })
      expect(refusal(await ask())).toEqual([403, "AccessDeniedException", FORBIDDEN])
      edge.settings.statements = publicPolicy
      expect((await ask()).status).toBe(403)
      edge.settings.statements = [
        allow("lambda:InvokeFunctionUrl", forAll),
        allow("lambda:InvokeFunction", forStranger),
      ]
      expect((await ask()).body).toBe("in")
      expect(event?.requestContext).toMatchObject({ accountId: stranger, authorizer: { iam: { accountId: stranger } } })
      edge.settings.statements = [allow("lambda:*", forStranger)]
      expect((await ask()).body).toBe("in")
      edge.settings.statements = [allow("*", { Principal: { AWS: `arn:aws:iam::${stranger}:user/one` } })]
      expect((await ask()).status).toBe(403)
      edge.settings.statements = [
        allow("*", { ...forStranger, Condition: { StringEquals: { "aws:PrincipalOrgID": "o-1234567890" } } }),
      ]
      expect((await ask()).status).toBe(403)
    })

    test.for([
      ["another secret", { secret: "guessed" }, "The request signature we calculated does not match"],
      [
        "a key that is nobody's",
        { key: "AKIANOBODY", secret: "x" },
        "The security token included in the request is invalid",
      ],
      ["an old date", { at: new Date(Date.now() - 3_600_000) }, "Signature expired"],
      ["another service", { service: "s3" }, "Credential should be scoped to correct service: 'lambda'"],
    ] as const)("keeps out %s, and says why", async ([, signing, why]) => {
      const { status, body } = await edge.ask(protocol, { headers: await sign(signing) })
      expect([status, JSON.parse(body)]).toEqual([403, { message: expect.stringContaining(why) }])
      expect(event).toBeUndefined()
    })

    test("keeps out a signature for another region, body, path, method or host", async () => {
      const elsewhere = await edge.ask(protocol, { headers: await sign({ region: "eu-west-1" }) })
      expect(refusal(elsewhere)).toEqual([403, "AccessDeniedException", FORBIDDEN])
      const headers = await sign({ method: "POST", path: "/a", body: "signed" })
      for (const asked of [
        { method: "POST", path: "/a", body: "other" },
        { method: "POST", path: "/b", body: "signed" },
        { method: "POST", path: "/a?b=1", body: "signed" },
        { method: "PUT", path: "/a", body: "signed" },
      ])
        expect((await edge.ask(protocol, { ...asked, headers })).status).toBe(403)
      const { "x-amz-content-sha256": _, ...withoutHash } = headers
      expect(
        (await edge.ask(protocol, { method: "POST", path: "/a", body: "signed", headers: withoutHash })).status,
      ).toBe(403)
      expect((await edge.ask(protocol, { method: "POST", path: "/a", body: "signed", headers })).body).toBe("in")
    })

    test("lets in a presigned address for as long as it says", async () => {
      const presign = async (expiresIn: number, signingDate: Date) => {
        const { query = {} } = await signerOf({}).presign(
          {
            method: "GET",
            protocol: "https:",
            hostname: edge.name,
            port: edge.port,
            path: "/report",
            query: { month: "1 2" },
            headers: { host: `${edge.name}:${edge.port}` },
          },
          { expiresIn, signingDate },
        )
        const texts = Object.entries(query).map(
          ([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(String(value))}`,
        )
        return `/report?${texts.join("&")}`
      }
      const path = await presign(600, new Date())
      expect((await edge.ask(protocol, { path })).body).toBe("in")
      expect(event?.requestContext["accountId"]).toBe(owner)
      for (const other of [path.replace("month=1", "month=3"), await presign(60, new Date(Date.now() - 120_000))])
        expect((await edge.ask(protocol, { path: other })).status).toBe(403)
    })

    test("lets in curl, which signs by itself", async () => {
      const words = `-sS --http${protocol === "h2" ? "2" : "1.1"} --aws-sigv4 aws:amz:${region}:lambda --user AKIAOWNER:owner`
      const { stdout } = await promisify(execFile)("curl", [
        ...words.split(" "),
        "--cacert",
        edge.caFile,
        "--data",
        "a=1&b=2",
        "--write-out",
        " %{http_code} %{http_version}",
        `${edge.origin}/path?x=1`,
      ])
      expect(stdout).toBe(`in 200 ${protocol === "h2" ? "2" : "1.1"}`)
      expect([event?.body, event?.requestContext["accountId"]]).toEqual(["a=1&b=2", owner])
    })

    test("takes a malformed Authorization for what it is", async () => {
      const { status, body } = await edge.ask(protocol, { headers: { authorization: "Bearer token" } })
      expect([status, JSON.parse(body)]).toEqual([403, { message: expect.stringContaining("AWS4-HMAC-SHA256") }])
    })
  })
})
