CREATE TABLE "function_aliases" (
	"id" uuid PRIMARY KEY NOT NULL,
	"function_id" uuid NOT NULL,
	"name" text NOT NULL,
	"number" integer NOT NULL,
	"other_number" integer,
	"other_weight" double precision,
	"description" text NOT NULL,
	"revision_id" uuid NOT NULL,
	CONSTRAINT "function_aliases_by_name" UNIQUE("function_id","name")
);
--> statement-breakpoint
CREATE TABLE "function_codes" (
	"id" uuid PRIMARY KEY NOT NULL,
	"host_id" uuid NOT NULL,
	"sha256" text NOT NULL,
	"bytes" bigint NOT NULL,
	"unpacked_bytes" bigint NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "function_codes_by_hash" UNIQUE("host_id","sha256")
);
--> statement-breakpoint
CREATE TABLE "function_event_configs" (
	"function_id" uuid NOT NULL,
	"qualifier" text NOT NULL,
	"maximum_retries" integer,
	"maximum_age_seconds" integer,
	"destinations" jsonb NOT NULL,
	"modified_at" timestamp with time zone NOT NULL,
	CONSTRAINT "function_event_configs_function_id_qualifier_pk" PRIMARY KEY("function_id","qualifier")
);
--> statement-breakpoint
CREATE TABLE "function_layer_versions" (
	"id" uuid PRIMARY KEY NOT NULL,
	"layer_id" uuid NOT NULL,
	"number" integer NOT NULL,
	"code_id" uuid NOT NULL,
	"description" text NOT NULL,
	"license_info" text,
	"runtimes" jsonb,
	"architectures" jsonb,
	"statements" jsonb DEFAULT '[]'::jsonb NOT NULL,
	"policy_revision_id" uuid,
	"created_at" timestamp with time zone NOT NULL,
	"deleted_at" timestamp with time zone,
	CONSTRAINT "function_layer_versions_by_number" UNIQUE("layer_id","number")
);
--> statement-breakpoint
CREATE TABLE "function_layers" (
	"id" uuid PRIMARY KEY NOT NULL,
	"account" text NOT NULL,
	"region" text NOT NULL,
	"name" text NOT NULL,
	"last_version" integer DEFAULT 0 NOT NULL,
	CONSTRAINT "function_layers_by_name" UNIQUE("account","region","name")
);
--> statement-breakpoint
CREATE TABLE "function_policies" (
	"function_id" uuid NOT NULL,
	"qualifier" text NOT NULL,
	"statements" jsonb NOT NULL,
	"revision_id" uuid NOT NULL,
	CONSTRAINT "function_policies_function_id_qualifier_pk" PRIMARY KEY("function_id","qualifier")
);
--> statement-breakpoint
CREATE TABLE "function_runtime_configs" (
	"function_id" uuid NOT NULL,
	"qualifier" text NOT NULL,
	"update_on" text NOT NULL,
	"runtime_version_arn" text,
	CONSTRAINT "function_runtime_configs_function_id_qualifier_pk" PRIMARY KEY("function_id","qualifier"),
	CONSTRAINT "function_runtime_configs_update_on" CHECK ("function_runtime_configs"."update_on" in ('Auto', 'FunctionUpdate', 'Manual'))
);
--> statement-breakpoint
CREATE TABLE "function_urls" (
	"id" text PRIMARY KEY NOT NULL,
	"function_id" uuid NOT NULL,
	"qualifier" text NOT NULL,
	"auth_type" text NOT NULL,
	"invoke_mode" text NOT NULL,
	"cors" jsonb,
	"created_at" timestamp with time zone NOT NULL,
	"modified_at" timestamp with time zone,
	CONSTRAINT "function_urls_by_qualifier" UNIQUE("function_id","qualifier"),
	CONSTRAINT "function_urls_auth_type" CHECK ("function_urls"."auth_type" in ('NONE', 'AWS_IAM')),
	CONSTRAINT "function_urls_invoke_mode" CHECK ("function_urls"."invoke_mode" in ('BUFFERED', 'RESPONSE_STREAM'))
);
--> statement-breakpoint
CREATE TABLE "function_version_layers" (
	"version_id" uuid NOT NULL,
	"position" integer NOT NULL,
	"layer_version_id" uuid NOT NULL,
	CONSTRAINT "function_version_layers_version_id_position_pk" PRIMARY KEY("version_id","position")
);
--> statement-breakpoint
CREATE TABLE "function_versions" (
	"id" uuid PRIMARY KEY NOT NULL,
	"function_id" uuid NOT NULL,
	"number" integer NOT NULL,
	"code_id" uuid NOT NULL,
	"settings" jsonb NOT NULL,
	"sealed_environment" "bytea",
	"definition_hash" text NOT NULL,
	"state" text NOT NULL,
	"update_state" text,
	"failure" jsonb,
	"revision_id" uuid NOT NULL,
	"modified_at" timestamp with time zone NOT NULL,
	CONSTRAINT "function_versions_by_number" UNIQUE("function_id","number"),
	CONSTRAINT "function_versions_state" CHECK ("function_versions"."state" in ('Pending', 'Active', 'Failed')),
	CONSTRAINT "function_versions_update_state" CHECK ("function_versions"."update_state" in ('InProgress', 'Successful', 'Failed'))
);
--> statement-breakpoint
CREATE TABLE "functions" (
	"id" uuid PRIMARY KEY NOT NULL,
	"account" text NOT NULL,
	"region" text NOT NULL,
	"name" text NOT NULL,
	"tags" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"last_version" integer DEFAULT 0 NOT NULL,
	"reserved_concurrency" integer,
	"recursive_loop" text DEFAULT 'Terminate' NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "functions_by_name" UNIQUE("account","region","name"),
	CONSTRAINT "functions_recursive_loop" CHECK ("functions"."recursive_loop" in ('Allow', 'Terminate')),
	CONSTRAINT "functions_reserved" CHECK ("functions"."reserved_concurrency" >= 0)
);
--> statement-breakpoint
ALTER TABLE "function_aliases" ADD CONSTRAINT "function_aliases_function_id_functions_id_fk" FOREIGN KEY ("function_id") REFERENCES "public"."functions"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "function_codes" ADD CONSTRAINT "function_codes_host_id_hosts_id_fk" FOREIGN KEY ("host_id") REFERENCES "public"."hosts"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "function_event_configs" ADD CONSTRAINT "function_event_configs_function_id_functions_id_fk" FOREIGN KEY ("function_id") REFERENCES "public"."functions"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "function_layer_versions" ADD CONSTRAINT "function_layer_versions_layer_id_function_layers_id_fk" FOREIGN KEY ("layer_id") REFERENCES "public"."function_layers"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "function_layer_versions" ADD CONSTRAINT "function_layer_versions_code_id_function_codes_id_fk" FOREIGN KEY ("code_id") REFERENCES "public"."function_codes"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "function_policies" ADD CONSTRAINT "function_policies_function_id_functions_id_fk" FOREIGN KEY ("function_id") REFERENCES "public"."functions"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "function_runtime_configs" ADD CONSTRAINT "function_runtime_configs_function_id_functions_id_fk" FOREIGN KEY ("function_id") REFERENCES "public"."functions"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "function_urls" ADD CONSTRAINT "function_urls_function_id_functions_id_fk" FOREIGN KEY ("function_id") REFERENCES "public"."functions"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "function_version_layers" ADD CONSTRAINT "function_version_layers_version_id_function_versions_id_fk" FOREIGN KEY ("version_id") REFERENCES "public"."function_versions"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "function_version_layers" ADD CONSTRAINT "function_version_layers_layer_version_id_function_layer_versions_id_fk" FOREIGN KEY ("layer_version_id") REFERENCES "public"."function_layer_versions"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "function_versions" ADD CONSTRAINT "function_versions_function_id_functions_id_fk" FOREIGN KEY ("function_id") REFERENCES "public"."functions"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "function_versions" ADD CONSTRAINT "function_versions_code_id_function_codes_id_fk" FOREIGN KEY ("code_id") REFERENCES "public"."function_codes"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "function_layer_versions_of_code" ON "function_layer_versions" USING btree ("code_id");--> statement-breakpoint
CREATE INDEX "function_version_layers_of_layer" ON "function_version_layers" USING btree ("layer_version_id");--> statement-breakpoint
CREATE INDEX "function_versions_of_code" ON "function_versions" USING btree ("code_id");--> statement-breakpoint
CREATE INDEX "function_versions_unsettled" ON "function_versions" USING btree ("state") WHERE "function_versions"."state" = 'Pending' or "function_versions"."update_state" = 'InProgress';