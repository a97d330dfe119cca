/** What --chmod says. */
export type Mode =
  | { readonly kind: "octal"; readonly value: number }
  /** As chmod takes it: `u=rwX,go-w`. */
  | { readonly kind: "symbolic"; readonly text: string }
