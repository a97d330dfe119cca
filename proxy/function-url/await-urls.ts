import type { FunctionUrls } from "./serve.ts"

/** What function URLs are to lead to, for who serves before it is there: whoever asks meanwhile waits, and is told when it never comes. */
export const awaitUrls = (opening: Promise<FunctionUrls>, domain: string): FunctionUrls => {
  let open: FunctionUrls | undefined
  opening.then(
    (urls) => (open = urls),
    // Those who wait are told.
    () => {},
  )
  return {
    router: {
      owns: (host) => host.endsWith(`.${domain}`),
      find: (host) => (open === undefined ? opening.then(({ router }) => router.find(host)) : open.router.find(host)),
    },
    signatures: {
      open: async (...request) => (await opening).signatures.open(...request),
    },
  }
}
