CREATE TABLE "function_provisions" (
	"function_id" uuid NOT NULL,
	"qualifier" text NOT NULL,
	"requested" integer NOT NULL,
	"modified_at" timestamp with time zone NOT NULL,
	CONSTRAINT "function_provisions_function_id_qualifier_pk" PRIMARY KEY("function_id","qualifier"),
	CONSTRAINT "function_provisions_requested" CHECK ("function_provisions"."requested" >= 1)
);
--> statement-breakpoint
CREATE TABLE "function_usage" (
	"function_id" uuid NOT NULL,
	"version" text NOT NULL,
	"hour" timestamp with time zone NOT NULL,
	"invocations" bigint NOT NULL,
	"errors" bigint NOT NULL,
	"throttles" bigint NOT NULL,
	"duration_ms" double precision NOT NULL,
	"gb_seconds" double precision NOT NULL,
	CONSTRAINT "function_usage_function_id_version_hour_pk" PRIMARY KEY("function_id","version","hour")
);
--> statement-breakpoint
ALTER TABLE "function_provisions" ADD CONSTRAINT "function_provisions_function_id_functions_id_fk" FOREIGN KEY ("function_id") REFERENCES "public"."functions"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "function_usage_by_hour" ON "function_usage" USING btree ("hour");