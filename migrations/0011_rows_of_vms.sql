CREATE INDEX "image_builds_of_vm" ON "image_builds" USING btree ("vm_id");--> statement-breakpoint
CREATE INDEX "microvms_of_vm" ON "microvms" USING btree ("vm_id");