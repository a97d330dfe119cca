/** Names of things as requests say them, and the least that an image needs. */
import type { CreateMicrovmImageCommandInput } from "@aws-sdk/client-lambda-microvms"
import { account, region } from "./api-under-test.ts"

export const arnOf = (name: string) => `arn:aws:lambda:${region}:${account}:microvm-image:${name}`
export const managedArn = (name: string) => `arn:aws:lambda:${region}:aws:microvm-image:${name}`
export const connector = (name: string) =>
  `arn:aws:lambda:${region}:aws:network-connector:aws-network-connector:${name}`
export const imageInput = (name: string): CreateMicrovmImageCommandInput => ({
  name,
  baseImageArn: managedArn("al2023-1"),
  buildRoleArn: "arn:aws:iam::000000000000:role/build",
  codeArtifact: { uri: "s3://artifacts/app.zip" },
})
