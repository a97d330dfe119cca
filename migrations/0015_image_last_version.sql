ALTER TABLE "images" ADD COLUMN "last_version" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
UPDATE "images" SET "last_version" = coalesce((SELECT max(split_part("version", '.', 1)::int) FROM "image_versions" WHERE "image_id" = "images"."id"), 0);
