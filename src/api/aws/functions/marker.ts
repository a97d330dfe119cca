import { invalid } from "../../../../machines/functions/refusals.ts"
import type { PageRequest } from "../../../../machines/resources.ts"
import { ServiceError } from "../../../errors.ts"
import type { Call } from "../operation.ts"
import { parsePage } from "../page-token.ts"

/** However many a caller asks for, there are no more on a page. */
const MAX_PAGE = 50

/** What a list's `MaxItems` and `Marker` ask for. */
export const parseMarker = (
  { Marker: marker, MaxItems: maxItems }: { Marker: string | undefined; MaxItems: number | undefined },
  list: string,
  call: Call,
): PageRequest => {
  try {
    return parsePage(Math.min(maxItems ?? MAX_PAGE, MAX_PAGE), marker, list, call)
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error
    throw invalid("Invalid Marker: it is not one that this list returned.")
  }
}
