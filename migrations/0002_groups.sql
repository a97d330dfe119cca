CREATE TABLE "log_groups" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"account" text NOT NULL,
	"region" text NOT NULL,
	"name" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "log_groups_by_name" UNIQUE("account","region","name")
);
--> statement-breakpoint
ALTER TABLE "logs" ADD COLUMN "group_id" uuid;--> statement-breakpoint
ALTER TABLE "logs" ADD COLUMN "stream" text;--> statement-breakpoint
ALTER TABLE "log_chunks" ADD COLUMN "group_id" uuid;--> statement-breakpoint
ALTER TABLE "log_chunks" ADD COLUMN "last_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "log_chunks" ADD COLUMN "stored_at" timestamp with time zone DEFAULT now() NOT NULL;--> statement-breakpoint
CREATE TEMPORARY TABLE "placed" ON COMMIT DROP AS
SELECT "logs"."id", "microvms"."account", "microvms"."region",
	coalesce("microvms"."logging"->>'group', '/aws/lambda-microvms/' || "microvms"."image_name") AS "name",
	coalesce("microvms"."logging"->>'stream', to_char("logs"."created_at" AT TIME ZONE 'UTC', 'YYYY/MM/DD') || '[' || "microvms"."image_version" || ']microvm-' || "microvms"."id") AS "stream"
FROM "logs" JOIN "microvms" ON "microvms"."vm_id" = "logs"."id"
UNION ALL
SELECT "logs"."id", "images"."account", "images"."region",
	coalesce("image_versions"."settings"->'logging'->>'group', '/aws/lambda-microvms/' || "images"."name"),
	coalesce("image_versions"."settings"->'logging'->>'stream', to_char("logs"."created_at" AT TIME ZONE 'UTC', 'YYYY/MM/DD') || '[0.0]' || "logs"."id")
FROM "logs" JOIN "image_builds" ON "image_builds"."id" = "logs"."id"
	JOIN "image_versions" ON "image_versions"."id" = "image_builds"."image_version_id"
	JOIN "images" ON "images"."id" = "image_versions"."image_id";--> statement-breakpoint
INSERT INTO "log_groups" ("account", "region", "name") SELECT DISTINCT "account", "region", "name" FROM "placed";--> statement-breakpoint
UPDATE "logs" SET "group_id" = "log_groups"."id", "stream" = "placed"."stream"
FROM "placed" JOIN "log_groups" USING ("account", "region", "name") WHERE "placed"."id" = "logs"."id";--> statement-breakpoint
DELETE FROM "logs" WHERE "group_id" IS NULL;--> statement-breakpoint
UPDATE "log_chunks" SET "group_id" = "logs"."group_id", "last_at" = "log_chunks"."at" FROM "logs" WHERE "logs"."id" = "log_chunks"."log_id";--> statement-breakpoint
ALTER TABLE "logs" ALTER COLUMN "group_id" SET NOT NULL;--> statement-breakpoint
ALTER TABLE "logs" ALTER COLUMN "stream" SET NOT NULL;--> statement-breakpoint
ALTER TABLE "log_chunks" ALTER COLUMN "group_id" SET NOT NULL;--> statement-breakpoint
ALTER TABLE "log_chunks" ALTER COLUMN "last_at" SET NOT NULL;--> statement-breakpoint
ALTER TABLE "logs" ADD CONSTRAINT "logs_group_id_log_groups_id_fk" FOREIGN KEY ("group_id") REFERENCES "public"."log_groups"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "log_chunks_of_group" ON "log_chunks" USING btree ("group_id","at","log_id","first_line");--> statement-breakpoint
CREATE INDEX "logs_of_stream" ON "logs" USING btree ("group_id","stream");
