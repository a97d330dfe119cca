import { randomUUID } from "node:crypto"
import { images, imageVersions } from "../../src/db/schema.ts"
import type { TestDatabase } from "./database.ts"

type Row = typeof imageVersions.$inferInsert

/** Inserts an image with one version, 1.0, that was built; for what needs the rows and no image. */
export const insertImageVersion = async (
  db: TestDatabase["db"],
  image: { readonly account: string; readonly region: string; readonly name: string },
  version: Pick<Row, "hostId"> & Partial<Row>,
): Promise<{ imageId: string; imageVersionId: string }> => {
  const [imageId, imageVersionId] = [randomUUID(), randomUUID()]
  await db.insert(images).values({ ...image, id: imageId, state: "CREATED" })
  await db.insert(imageVersions).values({
    id: imageVersionId,
    imageId,
    version: "1.0",
    state: "SUCCESSFUL",
    status: "ACTIVE",
    baseImageArn: "",
    baseImageVersion: "",
    buildRoleArn: "",
    codeArtifactUri: "",
    memoryMiB: 512,
    settings: {} as Row["settings"],
    machineVersion: 1,
    ...version,
  })
  return { imageId, imageVersionId }
}
