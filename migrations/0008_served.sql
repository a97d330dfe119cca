CREATE TABLE "function_served" (
	"version_id" uuid PRIMARY KEY NOT NULL,
	"code_id" uuid NOT NULL,
	"settings" jsonb NOT NULL,
	"sealed_environment" "bytea"
);
--> statement-breakpoint
CREATE TABLE "function_served_layers" (
	"version_id" uuid NOT NULL,
	"position" integer NOT NULL,
	"layer_version_id" uuid NOT NULL,
	CONSTRAINT "function_served_layers_version_id_position_pk" PRIMARY KEY("version_id","position")
);
--> statement-breakpoint
ALTER TABLE "function_served" ADD CONSTRAINT "function_served_version_id_function_versions_id_fk" FOREIGN KEY ("version_id") REFERENCES "public"."function_versions"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "function_served" ADD CONSTRAINT "function_served_code_id_function_codes_id_fk" FOREIGN KEY ("code_id") REFERENCES "public"."function_codes"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "function_served_layers" ADD CONSTRAINT "function_served_layers_version_id_function_served_version_id_fk" FOREIGN KEY ("version_id") REFERENCES "public"."function_served"("version_id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "function_served_layers" ADD CONSTRAINT "function_served_layers_layer_version_id_function_layer_versions_id_fk" FOREIGN KEY ("layer_version_id") REFERENCES "public"."function_layer_versions"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "function_served_of_code" ON "function_served" USING btree ("code_id");--> statement-breakpoint
CREATE INDEX "function_served_layers_of_layer" ON "function_served_layers" USING btree ("layer_version_id");