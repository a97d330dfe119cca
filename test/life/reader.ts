import { TerminateMicrovmCommand } from "@aws-sdk/client-lambda-microvms"
import type { TestDaemon } from "../fixtures/daemon.ts"

export interface Reader extends AsyncDisposable {
  /** A file of the image as the application answers it, or the status instead. */
  read(path: string): Promise<string | number>
}

/** A MicroVM of an image whose application is the static server; disposing it ends it. */
export const readerOf = async (daemon: TestDaemon, image: string): Promise<Reader> => {
  const vm = await daemon.run({ image })
  return {
    async read(path) {
      const { status, body } = await vm.get(path)
      return status === 200 ? body : status
    },
    async [Symbol.asyncDispose]() {
      vm.close()
      await daemon.client.send(new TerminateMicrovmCommand({ microvmIdentifier: vm.id }))
    },
  }
}
