CREATE TABLE "runtime_bases" (
	"host_id" uuid NOT NULL,
	"runtime" text NOT NULL,
	"memory_mib" integer NOT NULL,
	"base_id" uuid NOT NULL,
	"made_of" text NOT NULL,
	CONSTRAINT "runtime_bases_host_id_runtime_memory_mib_pk" PRIMARY KEY("host_id","runtime","memory_mib")
);
--> statement-breakpoint
ALTER TABLE "runtime_bases" ADD CONSTRAINT "runtime_bases_host_id_hosts_id_fk" FOREIGN KEY ("host_id") REFERENCES "public"."hosts"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "runtime_bases" ADD CONSTRAINT "runtime_bases_base_id_bases_id_fk" FOREIGN KEY ("base_id") REFERENCES "public"."bases"("id") ON DELETE no action ON UPDATE no action;