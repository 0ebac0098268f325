/** The signed context: what the database believes, and each way in which a context can be wrong. */
import { randomBytes } from "node:crypto";
import { beforeAll, describe, expect, it } from "vitest";
import { type Context, mintContextKey, signContext, tenantContext } from "./context.ts";
import { useTestStore } from "./testing.ts";
import { makeWorld } from "./testing-world.ts";
import { withContext } from "./tx.ts";

const store = useTestStore();
let contextA: Context;
/** The other tenant of the same vendor. */
let other: string;

beforeAll(async () => {
  const { vendorId, tenants } = await makeWorld(store().database);
  contextA = tenantContext(vendorId, tenants.acme, { principal: "member/a", permission: "probe" });
  other = tenants.globex;
});

describe("a context", () => {
  type Said = Readonly<{ said: string; mac: string }>;

  /** In one transaction: says what `make` makes of the transaction's name, then reads tenants. */
  async function readWith(make: (transaction: string) => Said): Promise<unknown> {
    const client = await store().database.pool.connect();
    try {
      await client.query("begin");
      const { rows } = await client.query<{ t: string }>("select wall.transaction() as t");
      const { said, mac } = make(rows[0]?.t ?? "");
      await client.query(
        "select set_config('holdfast.context', $1, true), set_config('holdfast.mac', $2, true)",
        [said, mac],
      );
      return (await client.query("select id from tenant")).rows.length;
    } catch (error) {
      return (error as Error).message;
    } finally {
      await client.query("rollback");
      client.release();
    }
  }
  const soon = () => Date.now() + 60_000;
  const sign = (transaction: string, context: Context = contextA, expires = soon()) =>
    signContext(store().database.contextKey, context, { transaction }, expires);

  it("shows its rows in its own transaction", async () => {
    expect(await readWith(sign)).toBe(1);
  });

  it("shows nothing when it is missing, also on a connection that had one", async () => {
    const client = await store().database.pool.connect();
    try {
      for (let n = 0; n < 2; n++) {
        expect((await client.query("select id from tenant")).rows).toEqual([]);
        await client.query("begin");
        await client.query("select set_config('holdfast.context', 'x', true)");
        await client.query("rollback");
      }
    } finally {
      client.release();
    }
  });

  it("is refused when its MAC is of another key, is missing, or the text was changed", async () => {
    const key = mintContextKey(randomBytes(32));
    const foreign = { ...key, id: store().database.contextKey.id };
    const forged = await readWith((t) =>
      signContext(foreign, contextA, { transaction: t }, soon()),
    );
    expect(forged).toBe("CONTEXT_FORGED");
    expect(await readWith((t) => ({ ...sign(t), mac: "" }))).toBe("CONTEXT_FORGED");
    const changed = await readWith((t) => {
      const { said, mac } = sign(t);
      return { said: said.replaceAll(contextA.tenantLo, other), mac };
    });
    expect(changed).toBe("CONTEXT_FORGED");
    expect(await readWith((t) => signContext(key, contextA, { transaction: t }, soon()))).toBe(
      "CONTEXT_FORGED",
    );
  });

  it("is refused once it has expired", async () => {
    expect(await readWith((t) => sign(t, contextA, Date.now() - 10_000))).toBe("CONTEXT_EXPIRED");
  });

  it("is refused in any other transaction, also of the same connection", async () => {
    let overheard: Said | undefined;
    await readWith((t) => {
      overheard = sign(t);
      return overheard;
    });
    expect(await readWith(() => overheard ?? sign(""))).toBe("CONTEXT_REPLAYED");
  });

  it("of one statement is refused with another body than its own", async () => {
    const bound = signContext(
      store().database.contextKey,
      contextA,
      { body: "0".repeat(64) },
      soon(),
    );
    expect(await readWith(() => bound)).toBe("CONTEXT_REPLAYED");
    const attempt = store().database.pool.query("select wall.usage_ingest($1, $2, '{}')", [
      bound.said,
      bound.mac,
    ]);
    await expect(attempt).rejects.toThrow("CONTEXT_REPLAYED");
  });

  it("cannot be forged by the app role, which reads neither the key nor its table", async () => {
    for (const sql of [
      "select * from wall.context_key",
      "select inner_pad from wall.context_key",
    ]) {
      await expect(store().database.pool.query(sql)).rejects.toMatchObject({ code: "42501" });
    }
    const insert = `insert into wall.context_key values (gen_random_uuid(), '\\x', '\\x', now(), now())`;
    await expect(store().database.pool.query(insert)).rejects.toMatchObject({ code: "42501" });
  });

  it("is all that the app role has: it cannot become another role", async () => {
    for (const role of ["holdfast_owner", "holdfast_view", "holdfast_key", "postgres"]) {
      const attempt = store().database.pool.query(`set role ${role}`);
      await expect(attempt, role).rejects.toMatchObject({ code: "42501" });
    }
  });

  it("leaves an injected change of tenant without effect", async () => {
    const attempt = withContext(store().database, contextA, async (tx) => {
      await tx.query(
        "select set_config('holdfast.context', replace(current_setting('holdfast.context'), $1, $2), true)",
        [contextA.tenantLo, other],
      );
      return tx.query("select * from tenant");
    });
    await expect(attempt).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  });
});
