ALTER TABLE "vms" ADD COLUMN "process_id" uuid;--> statement-breakpoint
UPDATE "vms" SET "process_id" = "id" WHERE "pid" IS NOT NULL;
