CREATE TABLE "environments" (
	"id" uuid PRIMARY KEY NOT NULL,
	"vm_id" uuid NOT NULL,
	"host_id" uuid NOT NULL,
	"account" text NOT NULL,
	"region" text NOT NULL,
	"function_id" uuid NOT NULL,
	"version_id" uuid NOT NULL,
	"function_name" text NOT NULL,
	"version" text NOT NULL,
	"definition_id" text NOT NULL,
	"sealed_definition" "bytea" NOT NULL,
	"initialization" text NOT NULL,
	"state" text NOT NULL,
	"state_reason" text,
	"cause" text NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"deadline_at" timestamp with time zone NOT NULL,
	"terminated_at" timestamp with time zone,
	"generation" integer DEFAULT 0 NOT NULL,
	CONSTRAINT "environments_initialization" CHECK ("environments"."initialization" in ('on-demand', 'provisioned-concurrency', 'snap-start')),
	CONSTRAINT "environments_state" CHECK ("environments"."state" in ('PENDING', 'RUNNING', 'SUSPENDING', 'SUSPENDED', 'TERMINATING', 'TERMINATED')),
	CONSTRAINT "environments_cause" CHECK ("environments"."cause" in ('api', 'idle', 'deadline', 'request', 'hook', 'exit', 'host', 'memory', 'build'))
);
--> statement-breakpoint
ALTER TABLE "vms" DROP CONSTRAINT "vms_kind";--> statement-breakpoint
ALTER TABLE "environments" ADD CONSTRAINT "environments_vm_id_vms_id_fk" FOREIGN KEY ("vm_id") REFERENCES "public"."vms"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "environments" ADD CONSTRAINT "environments_host_id_hosts_id_fk" FOREIGN KEY ("host_id") REFERENCES "public"."hosts"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "environments_live" ON "environments" USING btree ("host_id") WHERE "environments"."state" <> 'TERMINATED';--> statement-breakpoint
CREATE INDEX "environments_over" ON "environments" USING btree ("host_id","terminated_at");--> statement-breakpoint
CREATE INDEX "environments_of_vm" ON "environments" USING btree ("vm_id");--> statement-breakpoint
ALTER TABLE "vms" ADD CONSTRAINT "vms_kind" CHECK ("vms"."kind" in ('microvm', 'build', 'environment'));