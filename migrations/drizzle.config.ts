import type { Config } from "drizzle-kit"

const config: Config = { dialect: "postgresql", schema: ["./src/db/schema.ts", "./src/db/logs.ts", "./src/db/functions.ts", "./src/db/function-layers.ts", "./src/db/environments.ts", "./src/db/function-served.ts"], out: "./migrations" }
// drizzle-kit reads the default export: the one place that needs one.
export default config
