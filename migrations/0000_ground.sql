CREATE TABLE "access_keys" (
	"access_key_id" text PRIMARY KEY NOT NULL,
	"account" text NOT NULL,
	"sealed_secret" "bytea" NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "audit" (
	"id" bigserial PRIMARY KEY NOT NULL,
	"at" timestamp with time zone DEFAULT now() NOT NULL,
	"account" text NOT NULL,
	"region" text NOT NULL,
	"resource" text NOT NULL,
	"action" text NOT NULL,
	"cause" text NOT NULL,
	"actor" text,
	"request_id" text,
	"details" jsonb DEFAULT '{}'::jsonb NOT NULL,
	CONSTRAINT "audit_cause" CHECK ("audit"."cause" in ('api', 'idle', 'deadline', 'request', 'hook', 'exit', 'host', 'memory', 'build'))
);
--> statement-breakpoint
CREATE TABLE "bases" (
	"id" uuid PRIMARY KEY NOT NULL,
	"host_id" uuid NOT NULL,
	"architecture" text NOT NULL,
	"memory_mib" integer NOT NULL,
	"vcpus" integer NOT NULL,
	"system_disk" text NOT NULL,
	"root_disk" jsonb NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "build_log_lines" (
	"build_id" uuid NOT NULL,
	"line" integer NOT NULL,
	"at" timestamp with time zone NOT NULL,
	"text" text NOT NULL,
	CONSTRAINT "build_log_lines_build_id_line_pk" PRIMARY KEY("build_id","line")
);
--> statement-breakpoint
CREATE TABLE "client_tokens" (
	"account" text NOT NULL,
	"region" text NOT NULL,
	"operation" text NOT NULL,
	"token" text NOT NULL,
	"request_hash" text NOT NULL,
	"resource_id" uuid NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "client_tokens_account_region_operation_token_pk" PRIMARY KEY("account","region","operation","token")
);
--> statement-breakpoint
CREATE TABLE "hosts" (
	"id" uuid PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"seen_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "image_builds" (
	"id" uuid PRIMARY KEY NOT NULL,
	"image_version_id" uuid NOT NULL,
	"vm_id" uuid,
	"state" text NOT NULL,
	"state_reason" text,
	"architecture" text NOT NULL,
	"memory_bytes" bigint,
	"code_bytes" bigint,
	"disk_bytes" bigint,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"finished_at" timestamp with time zone,
	CONSTRAINT "image_builds_state" CHECK ("image_builds"."state" in ('PENDING', 'IN_PROGRESS', 'SUCCESSFUL', 'FAILED'))
);
--> statement-breakpoint
CREATE TABLE "image_versions" (
	"id" uuid PRIMARY KEY NOT NULL,
	"image_id" uuid NOT NULL,
	"version" text NOT NULL,
	"state" text NOT NULL,
	"status" text NOT NULL,
	"cause" text,
	"base_image_arn" text NOT NULL,
	"base_image_version" text NOT NULL,
	"build_role_arn" text NOT NULL,
	"code_artifact_uri" text NOT NULL,
	"memory_mib" integer NOT NULL,
	"settings" jsonb NOT NULL,
	"sealed_environment" "bytea",
	"run_settings" jsonb,
	"base_id" uuid,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp with time zone,
	"host_id" uuid NOT NULL,
	"generation" integer DEFAULT 0 NOT NULL,
	"machine" jsonb,
	"machine_version" integer NOT NULL,
	CONSTRAINT "image_versions_by_version" UNIQUE("image_id","version"),
	CONSTRAINT "image_versions_state" CHECK ("image_versions"."state" in ('PENDING', 'IN_PROGRESS', 'SUCCESSFUL', 'FAILED', 'DELETING', 'DELETED', 'DELETE_FAILED')),
	CONSTRAINT "image_versions_status" CHECK ("image_versions"."status" in ('ACTIVE', 'INACTIVE')),
	CONSTRAINT "image_versions_cause" CHECK ("image_versions"."cause" in ('api', 'idle', 'deadline', 'request', 'hook', 'exit', 'host', 'memory', 'build'))
);
--> statement-breakpoint
CREATE TABLE "images" (
	"id" uuid PRIMARY KEY NOT NULL,
	"account" text NOT NULL,
	"region" text NOT NULL,
	"name" text NOT NULL,
	"state" text NOT NULL,
	"latest_active_version" text,
	"latest_failed_version" text,
	"tags" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp with time zone,
	CONSTRAINT "images_by_name" UNIQUE("account","region","name"),
	CONSTRAINT "images_state" CHECK ("images"."state" in ('CREATING', 'CREATED', 'CREATE_FAILED', 'UPDATING', 'UPDATED', 'UPDATE_FAILED', 'DELETING', 'DELETE_FAILED', 'DELETED'))
);
--> statement-breakpoint
CREATE TABLE "layers" (
	"host_id" uuid NOT NULL,
	"account" text NOT NULL,
	"hash" text NOT NULL,
	"file" text NOT NULL,
	"parent_file" text,
	"bytes" bigint NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"used_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "layers_host_id_account_hash_pk" PRIMARY KEY("host_id","account","hash")
);
--> statement-breakpoint
CREATE TABLE "microvms" (
	"id" uuid PRIMARY KEY NOT NULL,
	"vm_id" uuid NOT NULL,
	"account" text NOT NULL,
	"region" text NOT NULL,
	"image_id" uuid NOT NULL,
	"image_name" text NOT NULL,
	"image_version_id" uuid NOT NULL,
	"image_version" text NOT NULL,
	"endpoint_id" uuid NOT NULL,
	"state" text NOT NULL,
	"state_reason" text,
	"cause" text NOT NULL,
	"idle_policy" jsonb,
	"maximum_duration_seconds" integer NOT NULL,
	"execution_role_arn" text,
	"ingress_connectors" jsonb NOT NULL,
	"egress_connectors" jsonb NOT NULL,
	"logging" jsonb,
	"started_at" timestamp with time zone NOT NULL,
	"deadline_at" timestamp with time zone NOT NULL,
	"suspended_at" timestamp with time zone,
	"terminated_at" timestamp with time zone,
	"host_id" uuid NOT NULL,
	"generation" integer DEFAULT 0 NOT NULL,
	"machine" jsonb,
	"machine_version" integer NOT NULL,
	CONSTRAINT "microvms_by_endpoint" UNIQUE("endpoint_id"),
	CONSTRAINT "microvms_state" CHECK ("microvms"."state" in ('PENDING', 'RUNNING', 'SUSPENDING', 'SUSPENDED', 'TERMINATING', 'TERMINATED')),
	CONSTRAINT "microvms_cause" CHECK ("microvms"."cause" in ('api', 'idle', 'deadline', 'request', 'hook', 'exit', 'host', 'memory', 'build')),
	CONSTRAINT "microvms_duration" CHECK ("microvms"."maximum_duration_seconds" > 0)
);
--> statement-breakpoint
CREATE TABLE "outbox" (
	"id" bigserial PRIMARY KEY NOT NULL,
	"at" timestamp with time zone DEFAULT now() NOT NULL,
	"account" text NOT NULL,
	"resource" text NOT NULL,
	"type" text NOT NULL,
	"payload" jsonb NOT NULL
);
--> statement-breakpoint
CREATE TABLE "signing_keys" (
	"kid" text PRIMARY KEY NOT NULL,
	"public_jwk" jsonb NOT NULL,
	"sealed_private_jwk" "bytea" NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"retired_at" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "vms" (
	"id" uuid PRIMARY KEY NOT NULL,
	"host_id" uuid NOT NULL,
	"kind" text NOT NULL,
	"incarnation" integer DEFAULT 0 NOT NULL,
	"base_id" uuid,
	"memory_mib" integer NOT NULL,
	"vcpus" integer NOT NULL,
	"slot" integer,
	"pid" integer,
	"process_start_time" bigint,
	"disk_generation" integer DEFAULT 0 NOT NULL,
	"snapshot_incarnation" integer,
	"snapshot" text DEFAULT 'none' NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"ended_at" timestamp with time zone,
	CONSTRAINT "vms_kind" CHECK ("vms"."kind" in ('microvm', 'build')),
	CONSTRAINT "vms_snapshot" CHECK ("vms"."snapshot" in ('none', 'ready', 'consumed'))
);
--> statement-breakpoint
ALTER TABLE "bases" ADD CONSTRAINT "bases_host_id_hosts_id_fk" FOREIGN KEY ("host_id") REFERENCES "public"."hosts"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "build_log_lines" ADD CONSTRAINT "build_log_lines_build_id_image_builds_id_fk" FOREIGN KEY ("build_id") REFERENCES "public"."image_builds"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "image_builds" ADD CONSTRAINT "image_builds_image_version_id_image_versions_id_fk" FOREIGN KEY ("image_version_id") REFERENCES "public"."image_versions"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "image_builds" ADD CONSTRAINT "image_builds_vm_id_vms_id_fk" FOREIGN KEY ("vm_id") REFERENCES "public"."vms"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "image_versions" ADD CONSTRAINT "image_versions_image_id_images_id_fk" FOREIGN KEY ("image_id") REFERENCES "public"."images"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "image_versions" ADD CONSTRAINT "image_versions_base_id_bases_id_fk" FOREIGN KEY ("base_id") REFERENCES "public"."bases"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "image_versions" ADD CONSTRAINT "image_versions_host_id_hosts_id_fk" FOREIGN KEY ("host_id") REFERENCES "public"."hosts"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "layers" ADD CONSTRAINT "layers_host_id_hosts_id_fk" FOREIGN KEY ("host_id") REFERENCES "public"."hosts"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "microvms" ADD CONSTRAINT "microvms_vm_id_vms_id_fk" FOREIGN KEY ("vm_id") REFERENCES "public"."vms"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "microvms" ADD CONSTRAINT "microvms_image_id_images_id_fk" FOREIGN KEY ("image_id") REFERENCES "public"."images"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "microvms" ADD CONSTRAINT "microvms_image_version_id_image_versions_id_fk" FOREIGN KEY ("image_version_id") REFERENCES "public"."image_versions"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "microvms" ADD CONSTRAINT "microvms_host_id_hosts_id_fk" FOREIGN KEY ("host_id") REFERENCES "public"."hosts"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "vms" ADD CONSTRAINT "vms_host_id_hosts_id_fk" FOREIGN KEY ("host_id") REFERENCES "public"."hosts"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "vms" ADD CONSTRAINT "vms_base_id_bases_id_fk" FOREIGN KEY ("base_id") REFERENCES "public"."bases"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "audit_of_resource" ON "audit" USING btree ("resource","id");--> statement-breakpoint
CREATE INDEX "image_builds_of_version" ON "image_builds" USING btree ("image_version_id");--> statement-breakpoint
CREATE INDEX "image_versions_unfinished" ON "image_versions" USING btree ("host_id") WHERE "image_versions"."state" in ('PENDING', 'IN_PROGRESS', 'DELETING');--> statement-breakpoint
CREATE INDEX "microvms_live" ON "microvms" USING btree ("host_id") WHERE "microvms"."state" <> 'TERMINATED';--> statement-breakpoint
CREATE INDEX "microvms_newest" ON "microvms" USING btree ("account","region","started_at" DESC NULLS LAST,"id" DESC NULLS LAST);--> statement-breakpoint
CREATE INDEX "microvms_of_image" ON "microvms" USING btree ("image_id");--> statement-breakpoint
CREATE INDEX "vms_live" ON "vms" USING btree ("host_id") WHERE "vms"."ended_at" is null;