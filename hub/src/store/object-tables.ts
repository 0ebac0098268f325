/** The tables of API objects as `objects.ts` handles them: their own columns, as the migrations have them. */
import type { ObjectTable } from "./objects.ts";

export const TENANTS: ObjectTable = {
  table: "tenant",
  kind: "tenant",
  columns: ["display_name"],
  json: [],
};

export const MEMBERS: ObjectTable = {
  table: "member",
  kind: "member",
  columns: ["display_name", "service_account"],
  json: [],
};

export const PRODUCTS: ObjectTable = {
  table: "product",
  kind: "product",
  columns: ["display_name", "description"],
  json: [],
};

export const RELEASES: ObjectTable = {
  table: "release",
  kind: "release",
  columns: ["product_id", "version", "number", "digest", "key_ids", "envelope"],
  json: [],
};

export const PLANS: ObjectTable = {
  table: "plan",
  kind: "plan",
  columns: ["product_id", "newest_version"],
  json: [],
};

export const ENVIRONMENTS: ObjectTable = {
  table: "environment",
  kind: "environment",
  columns: ["rank"],
  json: [],
};

export const CELLS: ObjectTable = {
  table: "cell",
  kind: "cell",
  columns: ["kind", "region", "account", "runtime", "facts", "instances_max", "resources_max"],
  json: ["facts", "resources_max"],
};

export const AGENTS: ObjectTable = {
  table: "agent",
  kind: "agent",
  columns: [
    ...["cell_id", "fencing", "identity_key", "host_name", "version", "platform", "frozen_at"],
  ],
  json: [],
};

export const SUBSCRIPTIONS: ObjectTable = {
  table: "subscription",
  kind: "subscription",
  columns: [
    "plan_id",
    "plan_version",
    "instance_id",
    "starts_at",
    "ends_at",
    "overrides",
    "bill_to_id",
    "placement",
    "placed",
  ],
  json: ["overrides", "placement", "placed"],
};

/** The generation of the newest assignment is written by `assignments.nextGeneration` alone, `seats` by the database. */
export const INSTANCES: ObjectTable = {
  table: "instance",
  kind: "instance",
  columns: [
    "cell_id",
    "cell_tenant_id",
    "product_id",
    "release_id",
    "plan_id",
    "plan_version",
    "subscription_id",
    "environment_id",
    "parameters",
    "run_state",
    "local_secrets",
    "drift_policy",
    "asks",
    "undelete_days",
    "needs",
    "placement",
    "placed",
  ],
  json: ["parameters", "local_secrets", "asks", "needs", "placement", "placed"],
};

export const SEATS: ObjectTable = {
  table: "seat",
  kind: "seat",
  columns: ["cell_id", "instance_id", "instance_tenant_id", "subscription_id", "reserved"],
  json: [],
};
