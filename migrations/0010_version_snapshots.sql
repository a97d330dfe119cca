CREATE TABLE "version_snapshots" (
	"id" uuid PRIMARY KEY NOT NULL,
	"host_id" uuid NOT NULL,
	"base_id" uuid NOT NULL,
	"function_id" uuid NOT NULL,
	"version_id" uuid NOT NULL,
	"definition_id" text NOT NULL,
	"vm_id" uuid NOT NULL,
	"incarnation" integer NOT NULL,
	"bytes" bigint NOT NULL,
	"is_asked" boolean NOT NULL,
	"init_ms" integer NOT NULL,
	"restore_ms" integer,
	"failures" integer DEFAULT 0 NOT NULL,
	"used_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
ALTER TABLE "version_snapshots" ADD CONSTRAINT "version_snapshots_host_id_hosts_id_fk" FOREIGN KEY ("host_id") REFERENCES "public"."hosts"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "version_snapshots" ADD CONSTRAINT "version_snapshots_base_id_bases_id_fk" FOREIGN KEY ("base_id") REFERENCES "public"."bases"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "version_snapshots_of_definition" ON "version_snapshots" USING btree ("host_id","definition_id");