import * as sdk from "@aws-sdk/client-lambda"
import { describe, expect, it } from "vitest"
import type { Member, Shape } from "../../../src/api/aws/shape.ts"
import { operations } from "./operations.ts"
import { modelOperations, type ModelMember, type ModelType } from "./sdk-model.ts"

const withInput = operations.flatMap(({ name, input }) => (input === undefined ? [] : [{ name, input }]))

/** Which of the SDK's enums a member's words are. */
const enums: Record<string, Readonly<Record<string, string>>> = {
  Architectures: sdk.Architecture,
  ApplyOn: sdk.SnapStartApplyOn,
  ApplicationLogLevel: sdk.ApplicationLogLevel,
  AuthType: sdk.FunctionUrlAuthType,
  CompatibleArchitecture: sdk.Architecture,
  CompatibleArchitectures: sdk.Architecture,
  CompatibleRuntime: sdk.Runtime,
  CompatibleRuntimes: sdk.Runtime,
  FunctionUrlAuthType: sdk.FunctionUrlAuthType,
  FunctionVersion: sdk.FunctionVersion,
  InvocationType: sdk.InvocationType,
  InvokeMode: sdk.InvokeMode,
  LogFormat: sdk.LogFormat,
  LogType: sdk.LogType,
  Mode: sdk.TracingMode,
  PackageType: sdk.PackageType,
  PublishTo: sdk.FunctionVersionLatestPublished,
  RecursiveLoop: sdk.RecursiveLoop,
  S3ObjectStorageMode: sdk.S3ObjectStorageMode,
  SystemLogLevel: sdk.SystemLogLevel,
  TenantIsolationMode: sdk.TenantIsolationMode,
  UpdateRuntimeOn: sdk.UpdateRuntimeOn,
}

/** The same member's in another operation. */
const others: typeof enums = { InvocationType: sdk.ResponseStreamingInvocationType }

const toModelType = (shape: Shape): ModelType => {
  switch (shape.kind) {
    case "integer":
    case "number":
      return { kind: "numeric" }
    case "list":
      return { kind: "list", item: toModelType(shape.item) }
    case "map":
      return { kind: "map", value: toModelType(shape.value) }
    case "structure":
      return { kind: "structure", members: toModelMembers(shape.members) }
    case "union":
      throw new Error("There are no unions in this model")
    case "string":
    case "boolean":
    case "blob":
      return { kind: shape.kind }
    default:
      return shape satisfies never
  }
}

const toModelMembers = (members: Readonly<Record<string, Member>>): Record<string, ModelMember> =>
  Object.fromEntries(
    Object.entries(members).map(([name, { shape, required, from, as }]) => [
      name,
      { type: toModelType(shape), required, from, as: from === "query" ? (as ?? name) : undefined },
    ]),
  )

/** Every member of a shape that is one of some words, at any depth. */
const wordsOf = (name: string, shape: Shape): { name: string; values: readonly string[] }[] => {
  if (shape.kind === "string") return shape.values === undefined ? [] : [{ name, values: shape.values }]
  if (shape.kind === "list") return wordsOf(name, shape.item)
  if (shape.kind !== "structure") return []
  return Object.entries(shape.members).flatMap(([inner, member]) => wordsOf(inner, member.shape))
}

/** An empty structure of ours is one of which nothing is looked at: it is refused. */
const known = (model: Record<string, ModelMember>): Record<string, ModelMember> =>
  Object.fromEntries(
    Object.entries(model).map(([name, member]) => [
      name,
      name === "CapacityProviderConfig" ? { ...member, type: { kind: "structure", members: {} } } : member,
    ]),
  )

describe("The table of operations", () => {
  it("is the model's, name for name, method, path and status", () => {
    const place = ({ name, method, path, status }: { name: string; method: string; path: string; status: number }) => [
      name,
      method,
      path,
      status,
    ]
    const wanted = modelOperations.map((operation) =>
      // What the service itself answers, whatever its model says.
      place(operation.name === "DeleteFunction" ? { ...operation, status: 204 } : operation),
    )
    const refused = new Set(operations.filter(({ input }) => input === undefined).map(({ name }) => name))
    const without = (places: ReturnType<typeof place>[]) =>
      places
        .map((one) => (refused.has(String(one[0])) ? one.slice(0, 3) : one))
        .toSorted((a, b) => (String(a[0]) < String(b[0]) ? -1 : 1))
    expect(wanted).toHaveLength(88)
    expect(without(operations.map(place))).toEqual(without(wanted))
  })

  it.each(withInput)(
    "has the members of the model in $name: names, types, places, and which are required",
    ({ name, input }) => {
      const model = modelOperations.find((operation) => operation.name === name)
      expect(toModelMembers(input.members)).toEqual(known(model?.input() ?? {}))
    },
  )

  it("has the words of the model's enums", () => {
    const found = withInput.flatMap(({ input }) => wordsOf("", input))
    expect(new Set(found.map(({ name }) => name))).toEqual(new Set(Object.keys(enums)))
    const wordsIn = (name: string, some: Readonly<Record<string, string>> = {}) =>
      [name, ...Object.values(some).toSorted()].join(" ")
    for (const { name, values } of found) {
      const model = [wordsIn(name, enums[name]), wordsIn(name, others[name])]
      expect(model).toContain([name, ...values.toSorted()].join(" "))
    }
  })
})
