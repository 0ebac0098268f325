/**
 * The wall, probed from the catalog: canaries in every column of every table, of two vendors and two tenants
 * each; then as one tenant everything is tried on everything. A new table is covered as it comes. Dropping
 * or widening a table's policy turns the probe red, which is tested, too.
 */
import { randomBytes } from "node:crypto";
import { NIL_UUID } from "@holdfast/shared/ids.ts";
import type pg from "pg";
import { beforeAll, describe, expect, it } from "vitest";
import { agentContext, type Context, hubContext, staffContext, tenantContext } from "./context.ts";
import { withClient } from "./database.ts";
import { useTestStore } from "./testing.ts";
import { newId } from "./testing-world.ts";
import { withContext } from "./tx.ts";

const store = useTestStore();

type Column = Readonly<{ name: string; type: string }>;
type Table = Readonly<{ name: string; columns: readonly Column[]; cell: string | null }>;
type Owner = Readonly<{ vendor: string; tenant: string; canary: string; cell: string }>;

const VENDORS = [newId(), newId()] as const;
const owner = (vendor: string, canary: string, tenant = newId()): Owner => ({
  vendor,
  tenant,
  canary,
  cell: newId(),
});
const A = owner(VENDORS[0], "canaryownrow");
const OTHERS = [
  owner(VENDORS[0], "canarytenantb"),
  owner(VENDORS[0], "canaryvendorrow", NIL_UUID),
  owner(VENDORS[1], "canaryforeigntenant"),
  owner(VENDORS[1], "canaryforeignvendor", NIL_UUID),
];
const actor = { principal: "member/probe", permission: "probe" };
const contextA = tenantContext(A.vendor, A.tenant, actor);

/** Columns that checks restrict; everything else gets a canary by its type. */
const FIXED: Readonly<Record<string, (at: Owner, table: string) => unknown>> = {
  vendor_id: ({ vendor }) => vendor,
  tenant_id: ({ tenant }) => tenant,
  cell_id: ({ cell }) => cell,
  cell_tenant_id: ({ tenant }) => tenant,
  instance_tenant_id: ({ tenant }) => tenant,
  agent_tenant_id: ({ tenant }) => tenant,
  kind: ({ tenant }, table) =>
    table === "cell" && tenant !== NIL_UUID ? 1 : table === "object_label" ? "cell" : 2,
  digest: (_, table) =>
    table === "usage_series" ? randomBytes(32) : `sha256:${randomBytes(32).toString("hex")}`,
  role: () => "owner",
  reserved: () => true,
  run_state: () => 1,
  drift_policy: () => 1,
  state: () => 3,
  salt: () => randomBytes(16),
  tenancy_model: () => 1,
  lives: ({ canary }) => JSON.stringify([{ id: canary, returns: 0 }]),
  received: () => 1,
  destroy_order: ({ canary }) => Buffer.from(canary),
  window_end_ms: () => Date.now(),
  ends_at: () => new Date(Date.now() + 60_000),
};

function canaryFor({ name, type }: Column, at: Owner, table: string): unknown {
  if (name === "id") {
    if (table === "cell") return at.cell;
    if (table === "tenant") return at.tenant;
    return table === "vendor" ? at.vendor : newId();
  }
  const fixed = FIXED[name];
  if (fixed !== undefined) return fixed(at, table);
  if (type === "uuid") return newId();
  if (type === "text") return at.canary;
  if (type === "text[]") return [at.canary];
  if (type === "jsonb") return JSON.stringify({ canary: at.canary });
  if (type === "bytea")
    return Buffer.concat([Buffer.from(at.canary), randomBytes(32)]).subarray(0, 32);
  if (type === "boolean") return false;
  if (type.startsWith("timestamp")) return new Date();
  return 1;
}

const asSuperuser = <T>(work: (client: pg.Client) => Promise<T>) =>
  withClient(store().connection("postgres"), "probe", work);

let tables: readonly Table[];
let views: readonly string[];

async function readCatalog(client: pg.Client): Promise<readonly Table[]> {
  const { rows } = await client.query<Table>(
    `select c.relname as name,
            (select a.attname from pg_attribute a where a.attrelid = c.oid
               and a.attname = case c.relname when 'cell' then 'id' else 'cell_id' end) as cell,
            (select jsonb_agg(jsonb_build_object('name', a.attname, 'type', format_type(a.atttypid, null))
                              order by a.attnum)
               from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns
       from pg_class c
      where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
      order by c.relname`,
  );
  return rows;
}

/** Only a check may refuse a row, such as a vendor-level table a tenant's. */
async function plant(client: pg.Client, table: Table, at: Owner): Promise<boolean> {
  const columns = table.columns.map(({ name }) => name);
  const places = columns.map((_, index) => `$${index + 1}`);
  try {
    await client.query(
      `insert into ${table.name} (${columns.join(", ")}) values (${places.join(", ")})`,
      table.columns.map((column) => canaryFor(column, at, table.name)),
    );
    return true;
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === "23514" || code === "23505") return false;
    throw error;
  }
}

const planted = new Map<string, Set<string>>();

beforeAll(async () => {
  await asSuperuser(async (client) => {
    tables = await readCatalog(client);
    const found = await client.query<{ name: string }>(
      `select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind = 'v'`,
    );
    views = found.rows.map(({ name }) => name);
    // Keys between canaries are not the point; checks still hold.
    await client.query("set session_replication_role = replica");
    for (const table of tables) {
      const done = new Set<string>();
      for (const at of [A, ...OTHERS]) {
        if (await plant(client, table, at)) done.add(at.canary);
      }
      planted.set(table.name, done);
    }
  });
});

const rowsAs = (context: Context, relation: string) =>
  withContext(store().database, context, (tx) =>
    tx.query<{ row: string }>(`select t::text as row from ${relation} t`),
  );

/** What is wrong with the wall of a table as tenant A sees it; empty: it holds. */
async function probe(table: Table): Promise<readonly string[]> {
  const rows = await rowsAs(contextA, table.name);
  const problems = leaksIn(rows.map(({ row }) => row));
  const isOwnVisible = rows.some(({ row }) => row.includes(A.tenant));
  if (planted.get(table.name)?.has(A.canary) && table.name !== "vendor" && !isOwnVisible) {
    problems.push("own row is not visible");
  }
  return problems;
}

function leaksIn(texts: readonly string[]): string[] {
  const marks = OTHERS.flatMap(({ canary, cell, tenant, vendor }) => [
    canary,
    Buffer.from(canary).toString("hex"),
    cell,
    ...(tenant === NIL_UUID ? [] : [tenant]),
    ...(vendor === A.vendor ? [] : [vendor]),
  ]);
  return marks.filter((mark) => texts.some((text) => text.includes(mark)));
}

describe("a tenant", () => {
  it("has canaries of both vendors in every table, and of both tenants where tenants own rows", () => {
    expect(tables.length).toBeGreaterThan(30);
    for (const { name } of tables) {
      const canaries = planted.get(name) ?? new Set();
      expect(canaries.size, name).toBeGreaterThanOrEqual(2);
      expect(canaries.has("canaryforeigntenant") || canaries.has("canaryforeignvendor"), name).toBe(
        true,
      );
    }
  });

  it("reads its own rows and nobody else's, in every table", async () => {
    for (const table of tables) {
      if (table.name === "vendor") continue;
      expect(await probe(table), table.name).toEqual([]);
    }
  });

  it("reads of the vendor only what the named views show of what it refers to", async () => {
    for (const view of views) {
      const rows = await rowsAs(contextA, view).catch((error: unknown) => error);
      // reachable_instance is for other views alone.
      if (view === "reachable_instance") expect(rows).toMatchObject({ code: "PERMISSION_DENIED" });
      else expect(leaksIn((rows as { row: string }[]).map(({ row }) => row)), view).toEqual([]);
    }
  });

  it("changes and deletes nobody else's rows, in any table", async () => {
    for (const table of tables) {
      if (table.name === "vendor") continue;
      for (const statement of [
        `update ${table.name} set tenant_id = tenant_id returning ${table.name}::text as row`,
        `delete from ${table.name} returning ${table.name}::text as row`,
      ]) {
        const rows = await rolledBack(contextA, statement);
        expect(leaksIn(rows.map(({ row }) => row)), statement).toEqual([]);
      }
    }
  });

  it("inserts no row that is another's, and moves none of its own there", async () => {
    for (const table of tables) {
      for (const at of OTHERS) {
        expect(await insertAs(contextA, table, at), `${table.name} ${at.canary}`).toBe("refused");
      }
      if (!table.columns.some(({ name }) => name === "tenant_id") || table.name === "vendor")
        continue;
      const move = `update ${table.name} set tenant_id = '${OTHERS[0]?.tenant}' where tenant_id = '${A.tenant}'
        returning ${table.name}::text as row`;
      expect(await rolledBack(contextA, move), table.name).toEqual([]);
    }
  });

  it("learns nothing from a clash with another tenant's id", async () => {
    const taken = async (id: string) =>
      withContext(store().database, contextA, (tx) =>
        tx.query("insert into member (tenant_id, id, name) values ($1, $2, 'n')", [A.tenant, id]),
      ).catch((error: Error & { code: string }) => `${error.code} ${error.message}`);
    const foreign = await asSuperuser(async (client) => {
      const { rows } = await client.query<{ id: string }>(
        "select id from member where tenant_id = $1",
        [OTHERS[0]?.tenant],
      );
      return rows[0]?.id ?? "";
    });
    expect(await taken(foreign)).toBe(
      "ALREADY_EXISTS an object with this name or id already exists",
    );
  });

  async function rolledBack(context: Context, sql: string): Promise<readonly { row: string }[]> {
    let rows: { row: string }[] = [];
    await withContext(store().database, context, async (tx) => {
      rows = await tx.query<{ row: string }>(sql);
      throw new RangeError("only tried");
    }).catch(() => undefined);
    return rows;
  }

  async function insertAs(context: Context, table: Table, at: Owner): Promise<"done" | "refused"> {
    const columns = table.columns.map(({ name }) => name);
    const places = columns.map((_, index) => `$${index + 1}`);
    const sql = `insert into ${table.name} (${columns.join(", ")}) values (${places.join(", ")})`;
    return withContext(store().database, context, (tx) =>
      tx.query(
        sql,
        table.columns.map((column) => canaryFor(column, at, table.name)),
      ),
    ).then(
      () => "done" as const,
      () => "refused" as const,
    );
  }
});

describe("an agent", () => {
  it("sees rows of its cell only, in every table that carries the cell", async () => {
    const [own, other] = [A, OTHERS[0]];
    if (own === undefined || other === undefined) throw new Error("two tenants are planted");
    const context = agentContext(own.vendor, own.cell, newId());
    for (const table of tables.filter(({ cell }) => cell !== null)) {
      const texts = (await rowsAs(context, table.name)).map(({ row }) => row);
      expect(leaksIn(texts), table.name).toEqual([]);
      expect(
        texts.some((text) => text.includes(own.cell)),
        table.name,
      ).toBe(true);
    }
  });
});

describe("staff and the hub", () => {
  it("see all of their vendor and nothing of another", async () => {
    for (const table of tables) {
      const rows = await rowsAs(staffContext(A.vendor, actor), table.name);
      const texts = rows.map(({ row }) => row);
      expect(
        texts.some((text) => text.includes("canaryforeign")),
        table.name,
      ).toBe(false);
      expect(
        texts.some((text) => text.includes(VENDORS[1])),
        table.name,
      ).toBe(false);
    }
  });

  it("list vendors in the hub's context, and read no row of them", async () => {
    for (const table of tables) {
      const rows = await rowsAs(hubContext("probe"), table.name);
      if (table.name === "vendor") expect(rows).toHaveLength(2);
      else expect(rows, table.name).toEqual([]);
    }
  });
});

describe("the policy of a table", () => {
  const widen = (name: string) =>
    `create policy wide on ${name} to holdfast_app using (true) with check (true)`;

  it("is what holds: without it, or with a wide one beside it, the probe turns red in every table", async () => {
    const guarded = tables.filter(({ name }) => name !== "vendor");
    for (const table of guarded) {
      await asSuperuser((client) => client.query(widen(table.name)));
      expect(await probe(table), `wide on ${table.name}`).not.toEqual([]);
      await asSuperuser((client) => client.query(`drop policy wide on ${table.name}`));
      if (!planted.get(table.name)?.has(A.canary)) continue;
      await asSuperuser((client) =>
        client.query(`alter policy wall on ${table.name} to holdfast_key`),
      );
      expect(await probe(table), `no wall on ${table.name}`).not.toEqual([]);
      await asSuperuser((client) =>
        client.query(`alter policy wall on ${table.name} to holdfast_app`),
      );
    }
    for (const table of guarded) expect(await probe(table), table.name).toEqual([]);
  });
});
