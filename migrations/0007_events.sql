CREATE TABLE "function_events" (
	"position" bigserial PRIMARY KEY NOT NULL,
	"host_id" uuid NOT NULL,
	"account" text NOT NULL,
	"region" text NOT NULL,
	"function_id" uuid NOT NULL,
	"function_name" text NOT NULL,
	"kind" text NOT NULL,
	"target" text NOT NULL,
	"request_id" uuid NOT NULL,
	"body" "bytea" NOT NULL,
	"client_context" text,
	"trace_id" text,
	"attributes" jsonb,
	"attempts" integer DEFAULT 0 NOT NULL,
	"accepted_at" timestamp with time zone NOT NULL,
	"due_at" timestamp with time zone NOT NULL,
	CONSTRAINT "function_events_kind" CHECK ("function_events"."kind" in ('invocation', 'destination', 'dead-letter'))
);
--> statement-breakpoint
ALTER TABLE "function_events" ADD CONSTRAINT "function_events_host_id_hosts_id_fk" FOREIGN KEY ("host_id") REFERENCES "public"."hosts"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "function_events_due" ON "function_events" USING btree ("host_id","function_id","kind","target","due_at","position");