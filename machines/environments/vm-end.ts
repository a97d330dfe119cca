import type { Ending, LiveVm } from "../vm.ts"

/** A VM that ended by itself while something was asked of its guest. */
export class VmEnded extends Error {
  override readonly name = "VmEnded"
  readonly ending: Ending

  constructor(ending: Ending) {
    super(ending.reason)
    this.ending = ending
  }
}

/** Aborted with {@link VmEnded} when the VM has ended: one for all that is asked of a guest in its life. */
export const toEndSignal = ({ ended }: Pick<LiveVm, "ended">): AbortSignal => {
  const controller = new AbortController()
  void ended.then((ending) => controller.abort(new VmEnded(ending)))
  return controller.signal
}
