import type { LogArchive } from "../../../logs/archive.ts"
import { createJsonRpcService } from "../json-rpc-service.ts"
import type { ServiceContext } from "../json-service.ts"
import { createEventOperations } from "./event-operations.ts"
import { createGroupOperations } from "./group-operations.ts"

/** What Amazon CloudWatch Logs has to read logs with. */
export const createCloudWatchLogsService = (archive: LogArchive, context: ServiceContext) =>
  createJsonRpcService(
    {
      name: "logs",
      targetPrefix: "Logs_20140328",
      operations: [...createGroupOperations(archive), ...createEventOperations(archive)],
      invalidInput: "InvalidParameterException",
    },
    context,
  )
