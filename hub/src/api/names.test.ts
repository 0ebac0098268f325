/** What new objects may be called, and that who saw an older version of one deletes nothing. */
import { randomUUID } from "node:crypto";
import { ProductService } from "@holdfast/proto/holdfast/api/v1/product_pb.js";
import { TenantService } from "@holdfast/proto/holdfast/api/v1/tenant_pb.js";
import { describe, expect, it } from "vitest";
import { useTestHub } from "../testing-hub.ts";
import { refusal } from "./refusals.test-world.ts";

const hub = useTestHub();
const products = () => hub().client(ProductService, hub().tokens.owner);
const product = (name: string) => ({ metadata: { name } });

describe("names of new objects", () => {
  it.each(["default", "con", "aux", "nul", "com1", "lpt9"])(
    "that mean something already are refused: %s",
    async (name) => {
      const answer = await refusal(products().createProduct({ product: product(name) }));
      expect(answer).toMatchObject({ code: "InvalidArgument", reason: "NAME_RESERVED" });
      expect(answer.message).toContain(`${name} is reserved`);
    },
  );

  it("are not the vendor's own seat's, of tenants", async () => {
    const tenants = hub().client(TenantService, hub().tokens.owner);
    const refused = tenants.createTenant({ tenant: { metadata: { name: "vendor" } } });
    expect(await refusal(refused)).toMatchObject({ reason: "NAME_RESERVED" });
  });

  it.each([
    ["nothing", ""],
    ["64 characters", "x".repeat(64)],
    ["a leading dash", "-rf"],
    ["a Cyrillic letter that looks like ours", "p\u0430ypal"],
    ["a zero-width character", "a\u200bb"],
    ["an accent, composed", "caf\u00e9"],
    ["an accent, decomposed", "cafe\u0301"],
  ])("are refused with %s", async (_, name) => {
    const answer = await refusal(products().createProduct({ product: product(name) }));
    expect(answer).toMatchObject({ code: "InvalidArgument", reason: "REQUEST_INVALID" });
    expect(answer.fields[0]).toBe("product.metadata.name");
  });
});

describe("a deletion", () => {
  it("of a stale version is refused, and nothing is deleted", async () => {
    const tenants = hub().client(TenantService, hub().tokens.owner);
    const name = `t-${randomUUID()}`;
    const tenant = { metadata: { name } };
    const etag = (await tenants.createTenant({ tenant })).tenant?.metadata?.etag ?? "";
    const change = { tenant: { ...tenant, spec: { displayName: "b" } } };
    const next = (await tenants.updateTenant(change)).tenant?.metadata?.etag;
    const answer = await refusal(tenants.deleteTenant({ tenant: name, etag }));
    expect(answer).toMatchObject({ code: "Aborted", reason: "ETAG_MISMATCH", etag: next });
    expect((await tenants.getTenant({ tenant: name })).tenant?.metadata?.etag).toBe(next);
    await tenants.deleteTenant({ tenant: name, etag: next ?? "" });
    expect(await refusal(tenants.getTenant({ tenant: name }))).toMatchObject({ code: "NotFound" });
  });
});
