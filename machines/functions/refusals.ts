/** Refusals in the words of AWS Lambda's Functions API, by what is wrong. */
import { ServiceError } from "../../src/errors.ts"

/** 400: the request cannot be meant. */
export const invalid = (message: string) => new ServiceError("InvalidParameterValueException", 400, message)

/** 409: what is there stands against it. */
export const conflict = (message: string) => new ServiceError("ResourceConflictException", 409, message)

/** 404. */
export const notFound = (message: string) => new ServiceError("ResourceNotFoundException", 404, message)

/** 404: what was named is not there, and AWS doesn't say what. */
export const noSuchResource = () => notFound("The resource you requested does not exist.")

/** 400: no more code may be kept. */
export const codeStorageExceeded = (message: string) => new ServiceError("CodeStorageExceededException", 400, message)

/** 412 unless the revision that was asked for is the one that is there; `call` is what tells the newest. */
export const checkRevision = (
  asked: string | undefined,
  current: string | null,
  call = "GetFunction/GetAlias",
): void => {
  if (asked === undefined || asked === current) return
  throw new ServiceError(
    "PreconditionFailedException",
    412,
    `The Revision Id provided does not match the latest Revision Id. Call the ${call} API to retrieve the latest Revision Id`,
  )
}
