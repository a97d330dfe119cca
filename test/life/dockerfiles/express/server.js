const express = require("express")
const { totalOf } = require("prices")

const app = express()

app.get("/", (request, response) => {
  response.json({ uid: process.getuid(), directory: process.cwd(), environment: app.get("env") })
})
app.get("/total/:prices", (request, response) => {
  response.json({ total: totalOf(request.params.prices.split(",").map(Number)) })
})
app.use((request, response) => response.status(404).send(`Nothing at ${request.path}`))

app.listen(process.env.PORT, () => console.log(`listening on ${process.env.PORT}`))
