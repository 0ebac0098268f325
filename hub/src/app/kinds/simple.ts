/** Kinds that are little more than their columns: tenant, product, environment. */
import { create } from "@bufbuild/protobuf";
import {
  type Environment,
  EnvironmentSchema,
} from "@holdfast/proto/holdfast/api/v1/environment_pb.js";
import { type Product, ProductSchema } from "@holdfast/proto/holdfast/api/v1/product_pb.js";
import { type Tenant, TenantSchema } from "@holdfast/proto/holdfast/api/v1/tenant_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import * as holdings from "../../store/holdings.ts";
import { ENVIRONMENTS, PRODUCTS, TENANTS } from "../../store/object-tables.ts";
import { metadataOf } from "../metadata.ts";
import type { Kind } from "../standard.ts";

export const TENANT: Kind<Tenant> = {
  kind: "tenant",
  schema: TenantSchema,
  table: TENANTS,
  // A tenant is a row of its own range; the vendor makes it.
  owner: "vendor",
  async view(_tx, rows) {
    return rows.map((row) =>
      create(TenantSchema, {
        metadata: { ...metadataOf("tenant", row), tenant: "" },
        spec: { displayName: String(row.fields["display_name"]) },
        status: {},
      }),
    );
  },
  async own(_work, { spec }) {
    return { display_name: spec?.displayName ?? "" };
  },
  async ending({ tx }, row) {
    const held = await holdings.ofTenant(tx, row.id);
    if (held.length > 0) {
      const shown = held.map(({ kind, name }) => ({
        path: `${kind}/${name}`,
        message: "still there",
      }));
      const names = held.map(({ kind, name }) => `${kind}/${name}`).join(", ");
      const first = held[0];
      throw new Fault(
        "FAILED_PRECONDITION",
        "STILL_USED",
        `tenant ${row.name}: delete first what it still has: ${names}`,
        {
          violations: shown,
          next: `holdfast delete ${first?.kind} ${first?.name} --tenant ${row.name}`,
        },
      );
    }
    return [];
  },
};

export const PRODUCT: Kind<Product> = {
  kind: "product",
  schema: ProductSchema,
  table: PRODUCTS,
  owner: "vendor",
  async view(_tx, rows) {
    return rows.map((row) =>
      create(ProductSchema, {
        metadata: metadataOf("product", row),
        spec: {
          displayName: String(row.fields["display_name"]),
          description: String(row.fields["description"]),
        },
      }),
    );
  },
  async own(_work, { spec }) {
    return { display_name: spec?.displayName ?? "", description: spec?.description ?? "" };
  },
};

export const ENVIRONMENT: Kind<Environment> = {
  kind: "environment",
  schema: EnvironmentSchema,
  table: ENVIRONMENTS,
  owner: "vendor",
  async view(_tx, rows) {
    return rows.map((row) =>
      create(EnvironmentSchema, {
        metadata: metadataOf("environment", row),
        spec: { rank: Number(row.fields["rank"]) },
      }),
    );
  },
  async own(_work, { spec }) {
    return { rank: spec?.rank ?? 0 };
  },
};
