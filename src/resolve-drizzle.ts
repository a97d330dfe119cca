/**
 * Lets drizzle-orm be imported as CommonJS, which it is built as too. Its package.json names two thousand exports, and Node reads all of
 * them again for each of its hundreds of ES modules: one and a half seconds of processor time, half of what a daemon's start costs.
 */
import { registerHooks } from "node:module"

registerHooks({
  resolve: (specifier, context, next) =>
    next(specifier, specifier.startsWith("drizzle-orm") ? { ...context, conditions: ["node", "require"] } : context),
})
