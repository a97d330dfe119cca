import { cpSync, readFileSync, writeFileSync } from "node:fs"

cpSync("content", "dist", { recursive: true })
writeFileSync("dist/index.html", readFileSync("content/index.html", "utf8").replace("{{title}}", "Built"))
