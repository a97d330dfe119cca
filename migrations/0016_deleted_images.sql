ALTER TABLE "microvms" DROP CONSTRAINT "microvms_image_id_images_id_fk";
--> statement-breakpoint
ALTER TABLE "microvms" DROP CONSTRAINT "microvms_image_version_id_image_versions_id_fk";
--> statement-breakpoint
ALTER TABLE "microvms" ALTER COLUMN "image_id" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "microvms" ALTER COLUMN "image_version_id" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "microvms" ADD CONSTRAINT "microvms_image_id_images_id_fk" FOREIGN KEY ("image_id") REFERENCES "public"."images"("id") ON DELETE set null ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "microvms" ADD CONSTRAINT "microvms_image_version_id_image_versions_id_fk" FOREIGN KEY ("image_version_id") REFERENCES "public"."image_versions"("id") ON DELETE set null ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "microvms_of_version" ON "microvms" USING btree ("image_version_id");