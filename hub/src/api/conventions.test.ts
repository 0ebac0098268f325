/** What callers rely on for every kind of object: bad input is answered alike everywhere. */
import { randomUUID } from "node:crypto";
import { CellService } from "@holdfast/proto/holdfast/api/v1/cell_pb.js";
import { EventService } from "@holdfast/proto/holdfast/api/v1/event_pb.js";
import { MemberService } from "@holdfast/proto/holdfast/api/v1/member_pb.js";
import { ProductService } from "@holdfast/proto/holdfast/api/v1/product_pb.js";
import { TenantService } from "@holdfast/proto/holdfast/api/v1/tenant_pb.js";
import { describe, expect, it } from "vitest";
import { parseApiToken } from "../app/api-token.ts";
import { taskContext } from "../store/context.ts";
import { readWithContext } from "../store/tx.ts";
import { useTestHub } from "../testing-hub.ts";
import { refusal } from "./refusals.test-world.ts";

const hub = useTestHub();

const products = (token = hub().tokens.owner) => hub().client(ProductService, token);
const product = (name: string, description = "") => ({ metadata: { name }, spec: { description } });
const newName = () => `p-${randomUUID()}`;

describe("names and ids", () => {
  it.each([
    {
      it: "an id of another kind",
      text: `cel_${"0".repeat(32)}`,
      reason: "ID_MALFORMED",
      says: "expected prd_",
    },
    {
      it: "upper case",
      text: "0198ABCD-0000-7000-8000-000000000000",
      reason: "NAME_MALFORMED",
      says: "allowed",
    },
    { it: "a path", text: "../../etc/passwd", reason: "NAME_MALFORMED", says: "allowed" },
    { it: "a zero-width space", text: "a\u200bb", reason: "NAME_MALFORMED", says: "\\u200b" },
    { it: "10 kB", text: "x".repeat(10_000), reason: "REQUEST_INVALID", says: "product" },
  ])("refuses $it", async ({ text, reason, says }) => {
    const answer = await refusal(products().getProduct({ product: text }));
    expect(answer).toMatchObject({ code: "InvalidArgument", reason });
    expect(answer.message).toContain(says);
    expect(answer.message.length).toBeLessThan(400);
  });

  it("names the field, the value and the rule of what the contract refuses", async () => {
    const answer = await refusal(products().createProduct({ product: product("-bad-") }));
    expect(answer).toMatchObject({ reason: "REQUEST_INVALID", fields: ["product.metadata.name"] });
    expect(answer.message).toContain("-bad-");
  });

  it("finds an object by its id as by its name", async () => {
    const name = newName();
    const made = (await products().createProduct({ product: product(name) })).product;
    const id = made?.metadata?.id ?? "";
    expect((await products().getProduct({ product: id })).product?.metadata?.name).toBe(name);
  });
});

describe("labels", () => {
  const labelled = (labels: Record<string, string>) =>
    products().createProduct({ product: { metadata: { name: newName(), labels }, spec: {} } });

  it("are at most 64, of values of at most 256", async () => {
    const many = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, n) => [`key-${n}`, "x"]));
    expect((await labelled(many(64))).product?.metadata?.labels).toEqual(many(64));
    for (const labels of [
      many(65),
      many(10_000),
      { a: "x".repeat(257) },
      { a: "x".repeat(1 << 20) },
    ]) {
      const answer = await refusal(labelled(labels));
      expect(answer).toMatchObject({ code: "InvalidArgument", reason: "REQUEST_INVALID" });
      expect(answer.message).toMatch(/64|256/);
      expect(answer.message.length).toBeLessThan(1_000);
    }
  });

  it("named like parts of Object are labels like others, or refused", async () => {
    const { product: made } = await labelled({ constructor: "x", tostring: "y" });
    expect(made?.metadata?.labels).toEqual({ constructor: "x", tostring: "y" });
    expect({}).not.toHaveProperty("tostring");
  });
});

describe("etags", () => {
  it("refuse a stale version and name the present one", async () => {
    const name = newName();
    const made = (await products().createProduct({ product: product(name) })).product;
    const etag = made?.metadata?.etag ?? "";
    const change = (description: string) => ({
      product: { metadata: { name, etag }, spec: { description } },
    });
    const next = (await products().updateProduct(change("b"))).product?.metadata?.etag;
    const answer = await refusal(products().updateProduct(change("c")));
    expect(answer).toMatchObject({ code: "Aborted", reason: "ETAG_MISMATCH", etag: next });
  });

  it("stay when nothing changes", async () => {
    const name = newName();
    const before = (await products().createProduct({ product: product(name, "same") })).product;
    const after = (await products().updateProduct({ product: product(name, "same") })).product;
    expect(after?.metadata?.etag).toBe(before?.metadata?.etag);
  });
});

describe("request ids", () => {
  it("are answered once and again with the same answer", async () => {
    const request = { product: product(newName()), requestId: randomUUID() };
    const [first, second] = await Promise.all([
      products().createProduct(request),
      products().createProduct(request),
    ]);
    expect(second.product?.metadata?.id).toBe(first.product?.metadata?.id);
  });

  it("are refused with other content", async () => {
    const requestId = randomUUID();
    await products().createProduct({ product: product(newName()), requestId });
    const answer = await refusal(
      products().createProduct({ product: product(newName()), requestId }),
    );
    expect(answer).toMatchObject({ code: "AlreadyExists", reason: "REQUEST_ID_REUSED" });
  });

  it("are UUIDs", async () => {
    const answer = await refusal(
      products().createProduct({ product: product(newName()), requestId: "1" }),
    );
    expect(answer).toMatchObject({ code: "InvalidArgument", fields: ["request_id"] });
  });

  it("keep no secret in clear", async () => {
    const requestId = randomUUID();
    const cells = hub().client(CellService, hub().tokens.owner);
    const request = { cell: "acme-cell", requestId };
    const first = await cells.createJoinToken(request);
    expect((await cells.createJoinToken(request)).joinToken).toBe(first.joinToken);
    const { database } = hub().parts.app;
    const vendorId = parseApiToken(hub().tokens.owner)?.vendorId ?? "";
    const rows = await readWithContext(database, taskContext(vendorId, "test"), (tx) =>
      tx.query<{ answer: Buffer }>("select answer from idempotency where request_id = $1", [
        requestId,
      ]),
    );
    expect(rows).toHaveLength(1);
    expect(rows[0]?.answer.includes("hfj_")).toBe(false);
  });
});

describe("validate_only and allow_missing", () => {
  it("answers as if done and does nothing", async () => {
    const name = newName();
    const answer = await products().createProduct({ product: product(name), validateOnly: true });
    expect(answer.product?.metadata?.name).toBe(name);
    expect(await refusal(products().getProduct({ product: name }))).toMatchObject({
      code: "NotFound",
    });
  });

  it("makes what is missing only when asked to", async () => {
    const name = newName();
    const update = products().updateProduct({ product: product(name) });
    expect(await refusal(update)).toMatchObject({ code: "NotFound" });
    await products().updateProduct({ product: product(name), allowMissing: true });
    expect((await products().getProduct({ product: name })).product?.metadata?.generation).toBe(1n);
  });

  it("finds a tenant that is there, whose row is in its own range", async () => {
    const tenants = hub().client(TenantService, hub().tokens.owner);
    const { tenant } = await tenants.getTenant({ tenant: "acme" });
    const spec = { displayName: tenant?.spec?.displayName ?? "" };
    const again = { tenant: { metadata: { name: "acme" }, spec }, allowMissing: true };
    const answer = await tenants.updateTenant(again);
    expect(answer.tenant?.metadata?.id).toBe(tenant?.metadata?.id);
    expect(answer.tenant?.metadata?.id).toMatch(/^ten_/);
  });

  it("refuses a name that is taken", async () => {
    const name = newName();
    await products().createProduct({ product: product(name) });
    const answer = await refusal(products().createProduct({ product: product(name) }));
    expect(answer).toMatchObject({ code: "AlreadyExists", reason: "NAME_TAKEN" });
  });
});

describe("pages", () => {
  const tenants = (token = hub().tokens.owner) => hub().client(TenantService, token);

  it("give every object once, in the order of names", async () => {
    const names: string[] = [];
    for (let pageToken = "", pages = 0; pages < 10; pages++) {
      const page = await tenants().listTenants({ pageSize: 1, pageToken });
      names.push(...page.tenants.map(({ metadata }) => metadata?.name ?? ""));
      pageToken = page.nextPageToken;
      if (pageToken === "") break;
    }
    expect(names).toEqual(["acme", "globex"]);
  });

  it("refuse a token that was forged or is another list's", async () => {
    const { nextPageToken } = await tenants().listTenants({ pageSize: 1 });
    const own = await refusal(tenants().listTenants({ pageToken: "AAAA" }));
    expect(own).toMatchObject({ code: "InvalidArgument", reason: "PAGE_TOKEN_INVALID" });
    const elsewhere = await refusal(products().listProducts({ pageToken: nextPageToken }));
    expect(elsewhere).toMatchObject({ reason: "PAGE_TOKEN_INVALID" });
    const other = await refusal(
      tenants(hub().tokens.globexOwner).listTenants({ pageToken: nextPageToken }),
    );
    expect(other).toMatchObject({ reason: "PAGE_TOKEN_INVALID" });
  });

  it("refuse a negative size and shorten a huge one", async () => {
    const answer = await refusal(tenants().listTenants({ pageSize: -1 }));
    expect(answer).toMatchObject({ code: "InvalidArgument", fields: ["page_size"] });
    expect((await tenants().listTenants({ pageSize: 1_000_000_000 })).tenants).toHaveLength(2);
  });
});

describe("tokens", () => {
  it("are refused with one text, whatever is wrong with them", async () => {
    const members = hub().client(MemberService, hub().tokens.owner);
    const spec = { grants: [{ role: 2 }] };
    await members.createMember({ member: { metadata: { name: "leaver" }, spec } });
    const revoked = await members.createToken({ member: "leaver" });
    await members.revokeToken({ tokenId: revoked.tokenId });
    const deleted = await members.createToken({ member: "leaver" });
    const expired = await members.createToken({ member: "leaver", ttl: { seconds: 1n, nanos: 0 } });
    await expect
      .poll(() => refusal(hub().client(MemberService, expired.token).whoAmI({})))
      .toMatchObject({ code: "Unauthenticated" });
    await members.deleteMember({ member: "leaver" });
    const texts = new Set<string>();
    for (const token of [
      "",
      "x",
      revoked.token,
      deleted.token,
      expired.token,
      `${deleted.token}0`,
    ]) {
      const answer = await refusal(hub().client(MemberService, token).whoAmI({}));
      texts.add(`${answer.code} ${answer.reason} ${answer.message}`);
    }
    expect([...texts]).toHaveLength(1);
  });

  it("in a URL are not looked at", async () => {
    const { address, tokens } = hub();
    const path = "/holdfast.api.v1.MemberService/WhoAmI";
    const answer = await fetch(
      `http://${address}${path}?access_token=${tokens.owner}&token=${tokens.owner}`,
      {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: "{}",
      },
    );
    expect(answer.status).toBe(401);
  });
});

describe("a tenant's own listing", () => {
  it("shows nothing of another tenant and no vendor's object", async () => {
    const { tokens, client } = hub();
    const seen = await client(CellService, tokens.globexOwner).listCells({});
    expect(seen.cells.map(({ metadata }) => metadata?.name)).toEqual(["globex-cell"]);
    const tenants = await client(TenantService, tokens.globexOwner).listTenants({});
    expect(tenants.tenants.map(({ metadata }) => metadata?.name)).toEqual(["globex"]);
    const text = JSON.stringify(
      await client(EventService, tokens.globexOwner).listEvents({}),
      (_, v) => (typeof v === "bigint" ? v.toString() : v),
    );
    expect(text).not.toContain("acme");
  });

  it("is refused under another tenant's name as under one that does not exist", async () => {
    const cells = hub().client(CellService, hub().tokens.globexOwner);
    const theirs = await refusal(cells.listCells({ tenant: "acme" }));
    const absent = await refusal(cells.listCells({ tenant: "nobody" }));
    expect(theirs).toEqual({ ...absent, message: absent.message.replace("nobody", "acme") });
  });
});

describe("events", () => {
  it("say who did what, before and after, and reach a watcher", async () => {
    const { tokens, client } = hub();
    const name = newName();
    const stop = new AbortController();
    const events = client(EventService, tokens.owner);
    const found = (async () => {
      for await (const { event } of events.watchEvents({}, { signal: stop.signal })) {
        if (event === undefined)
          await products()
            .createProduct({ product: product(name, "a") })
            .catch(() => 0);
        if (event?.subjectName === name) return event;
      }
      return undefined;
    })();
    const event = await found;
    stop.abort();
    expect(event).toMatchObject({
      type: "product.created",
      principal: "member/owner",
      permission: "product.create",
      after: { spec: { description: "a" } },
    });
    expect(event?.hash).toMatch(/^[0-9a-f]{64}$/);
  });
});

describe("the last owner", () => {
  it("stays", async () => {
    const members = hub().client(MemberService, hub().tokens.owner);
    const me = (await members.whoAmI({})).member?.metadata?.id ?? "";
    const answer = await refusal(members.deleteMember({ member: me }));
    expect(answer).toMatchObject({ code: "FailedPrecondition", reason: "LAST_OWNER" });
    expect((await members.whoAmI({})).permissions).toContain("member.create");
  });
});

describe("a tenant that still has things", () => {
  it("is not deleted, and what it has is named", async () => {
    const tenants = hub().client(TenantService, hub().tokens.owner);
    const answer = await refusal(tenants.deleteTenant({ tenant: "acme" }));
    expect(answer).toMatchObject({ code: "FailedPrecondition", reason: "STILL_USED" });
    expect(answer.message).toContain("cell/acme-cell");
  });
});
