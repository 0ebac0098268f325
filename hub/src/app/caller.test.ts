/** Who may call what, as a table. */
import { NIL_UUID } from "@holdfast/shared/ids.ts";
import { describe, expect, it } from "vitest";
import { authorise, type Caller, type RoleName, type Scope } from "./caller.ts";

const TENANT = "01980000-0000-7000-8000-000000000001";
const member = (tenantId: string, ...roles: RoleName[]): Caller => ({
  vendorId: "01980000-0000-7000-8000-000000000000",
  vendorName: "vendor",
  tenantId,
  tenantName: tenantId === NIL_UUID ? "" : "acme",
  memberId: "01980000-0000-7000-8000-000000000002",
  memberName: "mia",
  roles,
});

describe("authorise", () => {
  it.each<{ it: string; who: Caller; permission: string; scope: Scope; may: boolean }>([
    {
      it: "lets an owner of the vendor change vendor things",
      who: member(NIL_UUID, "owner"),
      permission: "product.create",
      scope: "vendor",
      may: true,
    },
    {
      it: "lets a viewer of the vendor list",
      who: member(NIL_UUID, "viewer"),
      permission: "product.list",
      scope: "vendor",
      may: true,
    },
    {
      it: "keeps a viewer of the vendor from creating",
      who: member(NIL_UUID, "viewer"),
      permission: "product.create",
      scope: "vendor",
      may: false,
    },
    {
      it: "keeps a tenant's owner from vendor things, also from reading",
      who: member(TENANT, "owner"),
      permission: "product.list",
      scope: "vendor",
      may: false,
    },
    {
      it: "lets a tenant's owner create in the tenant",
      who: member(TENANT, "owner"),
      permission: "instance.create",
      scope: "tenant",
      may: true,
    },
    {
      it: "lets a tenant's viewer query usage",
      who: member(TENANT, "viewer"),
      permission: "usage.query",
      scope: "tenant",
      may: true,
    },
    {
      it: "keeps a tenant's viewer from deleting",
      who: member(TENANT, "viewer"),
      permission: "instance.delete",
      scope: "tenant",
      may: false,
    },
    {
      it: "keeps out who has no grant",
      who: member(TENANT),
      permission: "instance.list",
      scope: "tenant",
      may: false,
    },
    {
      it: "lets anybody ask about itself",
      who: member(TENANT),
      permission: "member.self",
      scope: "self",
      may: true,
    },
  ])("$it", ({ who, permission, scope, may }) => {
    const judge = () => authorise(who, permission, scope);
    if (may) expect(judge).not.toThrow();
    else expect(judge).toThrow(expect.objectContaining({ code: "PERMISSION_DENIED" }));
  });
});
