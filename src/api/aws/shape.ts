/**
 * Shapes of a service's input: what members there are and what holds for them. A service's whole table is written with these,
 * and the types of its operations' inputs follow from it.
 */
interface StringShape<Value extends string = string> {
  readonly kind: "string"
  readonly min?: number
  readonly max?: number
  readonly pattern?: string
  readonly values?: readonly Value[]
  /** Never repeated in an error. */
  readonly sensitive?: boolean
}

interface IntegerShape {
  readonly kind: "integer"
  readonly min?: number
  readonly max?: number
}

interface NumberShape {
  readonly kind: "number"
  readonly min?: number
  readonly max?: number
}

/** Bytes, base64 in JSON. Never repeated in an error. */
interface BlobShape {
  readonly kind: "blob"
  readonly max?: number
}

interface BooleanShape {
  readonly kind: "boolean"
}

interface ListShape<Item extends Shape = Shape> {
  readonly kind: "list"
  readonly item: Item
  readonly min?: number
  readonly max?: number
}

interface MapShape<Value extends StringShape | NumberShape = StringShape | NumberShape> {
  readonly kind: "map"
  readonly key: StringShape
  readonly value: Value
  readonly min?: number
  readonly max?: number
}

export interface Member<Of extends Shape = Shape, Required extends boolean = boolean> {
  readonly shape: Of
  readonly required: Required
  readonly from: "body" | "path" | "query" | "header"
  /** Its name on the wire, where that isn't the member's own. */
  readonly as?: string
}

export interface StructureShape<Members extends Readonly<Record<string, Member>> = Readonly<Record<string, Member>>> {
  readonly kind: "structure"
  readonly members: Members
}

interface UnionShape<Choices extends Readonly<Record<string, Shape>> = Readonly<Record<string, Shape>>> {
  readonly kind: "union"
  readonly choices: Choices
}

export type Shape =
  | StringShape
  | IntegerShape
  | NumberShape
  | BlobShape
  | BooleanShape
  | MapShape
  | { readonly kind: "list"; readonly item: Shape; readonly min?: number; readonly max?: number }
  | { readonly kind: "structure"; readonly members: Readonly<Record<string, Member>> }
  | { readonly kind: "union"; readonly choices: Readonly<Record<string, Shape>> }

/** The type of a value that satisfies a shape. A member that is left out, or `null`, is `undefined`. */
export type ValueOf<Of> = Of extends { kind: "string"; values?: readonly (infer Value)[] }
  ? Value
  : Of extends { kind: "integer" | "number" }
    ? number
    : Of extends { kind: "boolean" }
      ? boolean
      : Of extends { kind: "list"; item: infer Item }
        ? ValueOf<Item>[]
        : Of extends { kind: "map"; value: infer Value }
          ? Record<string, ValueOf<Value>>
          : Of extends { kind: "structure"; members: infer Members }
            ? {
                [Name in keyof Members]: Members[Name] extends { shape: infer Inner; required: true }
                  ? ValueOf<Inner>
                  : Members[Name] extends { shape: infer Inner }
                    ? ValueOf<Inner> | undefined
                    : never
              }
            : Of extends { kind: "union"; choices: infer Choices }
              ? { [Name in keyof Choices]: ValueOf<Choices[Name]> | undefined }
              : Of extends { kind: "blob" }
                ? Buffer
                : never

type Bounds = { min?: number; max?: number }

export const string = (constraints: Bounds & { pattern?: string; sensitive?: boolean } = {}): StringShape => ({
  kind: "string",
  ...constraints,
})
export const oneOf = <const Value extends string>(...values: Value[]): StringShape<Value> => ({
  kind: "string",
  values,
})
export const integer = (constraints: Bounds = {}): IntegerShape => ({ kind: "integer", ...constraints })
export const number = (constraints: Bounds = {}): NumberShape => ({ kind: "number", ...constraints })
export const blob = (constraints: { max?: number } = {}): BlobShape => ({ kind: "blob", ...constraints })
export const boolean = (): BooleanShape => ({ kind: "boolean" })
export const list = <Item extends Shape>(item: Item, constraints: Bounds = {}): ListShape<Item> => ({
  kind: "list",
  item,
  ...constraints,
})
export const map = <Value extends StringShape | NumberShape>(
  key: StringShape,
  value: Value,
  constraints: Bounds = {},
): MapShape<Value> => ({
  kind: "map",
  key,
  value,
  ...constraints,
})
export const structure = <const Members extends Readonly<Record<string, Member>>>(
  members: Members,
): StructureShape<Members> => ({
  kind: "structure",
  members,
})
/** Exactly one of the choices is set. */
export const union = <const Choices extends Readonly<Record<string, Shape>>>(
  choices: Choices,
): UnionShape<Choices> => ({
  kind: "union",
  choices,
})
export const required = <Of extends Shape>(
  shape: Of,
  from: Member["from"] = "body",
  as?: string,
): Member<Of, true> => ({
  shape,
  required: true,
  from,
  ...(as === undefined ? {} : { as }),
})
export const optional = <Of extends Shape>(
  shape: Of,
  from: Member["from"] = "body",
  as?: string,
): Member<Of, false> => ({
  shape,
  required: false,
  from,
  ...(as === undefined ? {} : { as }),
})
