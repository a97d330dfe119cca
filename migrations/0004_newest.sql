ALTER TABLE "log_chunks" ALTER COLUMN "at" SET DATA TYPE timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "log_chunks" ALTER COLUMN "last_at" SET DATA TYPE timestamp (3) with time zone;--> statement-breakpoint
CREATE INDEX "log_chunks_of_group_newest" ON "log_chunks" USING btree ("group_id","last_at","log_id","first_line");