/** What functions may do elsewhere: the operator gives a role's functions credentials, which their programs find in their variables. */
import type { Definition } from "./definition.ts"

export interface RoleCredentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string | undefined
}

/** By their ARNs. */
export type Roles = Readonly<Record<string, RoleCredentials>>

/** Those of a function's role. Whoever makes a function names its role: one of another account is of no use to it. */
export const credentialsOf = (
  roles: Roles,
  { scope, settings: { role } }: Pick<Definition, "scope" | "settings">,
): RoleCredentials | undefined =>
  role.split(":")[4] === scope.account && Object.hasOwn(roles, role) ? roles[role] : undefined
