/** Rules that every table, index, view and function must keep, read from the catalog: a new one is covered as it comes. */
import { beforeAll, describe, expect, it } from "vitest";
import { withClient } from "./database.ts";
import { useTestStore } from "./testing.ts";

const store = useTestStore();

/** Unique by the vendor alone, since only the vendor names these; no tenant may insert them. */
const VENDOR_UNIQUE = ["tenant_name", "seat_name", "seat_reserved", "event_feed"];
/** Definer functions: what each may do is in its own text. A new one is added here after review. */
const DEFINERS = [
  "count_load",
  "ensure_usage_month",
  "enter_incarnation",
  "field",
  "forget_context_keys",
  "incarnation",
  "schema_version",
];
const ROLES = ["holdfast_app", "holdfast_key", "holdfast_owner", "holdfast_view"];

let query: <Row>(sql: string) => Promise<Row[]>;
beforeAll(() => {
  query = (sql) =>
    withClient(
      store().connection("postgres"),
      "lint",
      async (client) => (await client.query(sql)).rows,
    );
});
const names = async (sql: string) => (await query<{ name: string }>(sql)).map(({ name }) => name);

const TABLES = `select c.oid, n.nspname || '.' || c.relname as name, c.relispartition, n.nspname
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where n.nspname in ('public', 'wall') and c.relkind in ('r', 'p')`;
const VENDOR_TABLES = `select * from (${TABLES}) t where nspname = 'public' and not relispartition`;
const COLUMNS_OF = (key: string, rel: string) => `array(select a.attname::text
  from unnest(${key}) with ordinality as k (num, at) join pg_attribute a on a.attrelid = ${rel} and a.attnum = k.num
 order by k.at)`;

describe("tables", () => {
  it("have row-level security, enabled and forced", async () => {
    const all = await names(TABLES);
    expect(all.length).toBeGreaterThan(30);
    const bare = `select t.name from (${TABLES}) t join pg_class c on c.oid = t.oid
      where not (c.relrowsecurity and c.relforcerowsecurity)`;
    expect(await names(bare)).toEqual([]);
  });

  it("carry vendor and tenant, never null, at the head of the primary key", async () => {
    const wrong = `select t.name from (${VENDOR_TABLES}) t
      where not exists (select from pg_index i where i.indrelid = t.oid and i.indisprimary
        and (${COLUMNS_OF("i.indkey", "i.indrelid")})[1:2] = '{vendor_id,tenant_id}')`;
    expect(await names(wrong)).toEqual([]);
  });

  it("are unique by vendor and id where they have an id", async () => {
    const wrong = `select t.name from (${VENDOR_TABLES}) t
      where exists (select from pg_attribute a where a.attrelid = t.oid and a.attname = 'id')
        and not exists (select from pg_index i where i.indrelid = t.oid and i.indisunique
          and ${COLUMNS_OF("i.indkey", "i.indrelid")} = '{vendor_id,id}')`;
    expect(await names(wrong)).toEqual([]);
  });

  it("have one policy for the app role, of the one shape", async () => {
    const policies = await query<{ name: string; rule: string; check: string }>(
      `select t.name, pg_get_expr(p.polqual, p.polrelid) as rule, pg_get_expr(p.polwithcheck, p.polrelid) as check
         from (${VENDOR_TABLES}) t
         left join pg_policy p on p.polrelid = t.oid and p.polname = 'wall' and p.polcmd = '*'
          and p.polroles = array['holdfast_app'::regrole::oid]`,
    );
    const range = (column: string, of: string) =>
      new RegExp(
        `${column} >= \\( SELECT wall\\.${of}_lo\\(\\).*${column} <= \\( SELECT wall\\.${of}_hi\\(\\)`,
      );
    for (const { name, rule, check } of policies) {
      expect(check, name).toBe(rule);
      if (name === "public.vendor") continue;
      expect(rule, name).toMatch(/vendor_id = \( SELECT wall\.vendor\(\)/);
      expect(rule, name).toMatch(range("tenant_id", "tenant"));
      const hasCell = (
        await names(`select attname as name from pg_attribute
        where attrelid = '${name}'::regclass and attname = 'cell_id'`)
      ).length;
      if (hasCell) expect(rule, name).toMatch(range("cell_id", "cell"));
    }
    const others = `select polname || ' on ' || polrelid::regclass as name from pg_policy
      where polname not in ('wall', 'views', 'owner_reads', 'owner_only', 'key_writes')`;
    expect(await names(others)).toEqual([]);
  });

  it("reveal nothing by a unique index: vendor and tenant come first", async () => {
    const indexes = await query<{ name: string; columns: string[] }>(
      `select i.indexrelid::regclass::text as name, ${COLUMNS_OF("i.indkey", "i.indrelid")} as columns
         from (${VENDOR_TABLES}) t join pg_index i on i.indrelid = t.oid where i.indisunique`,
    );
    const wrong = indexes.filter(({ name, columns }) => {
      const [vendor, second] = columns;
      // Ids and digests are random: nobody learns anything from a clash.
      const isRandom = /^(id|digest|instance_id|agent_id|plan_id)$/.test(second ?? "");
      const isAllowed = second === "tenant_id" || isRandom || VENDOR_UNIQUE.includes(name);
      return vendor !== "vendor_id" || !isAllowed;
    });
    expect(wrong).toEqual([]);
  });

  it("refer to each other within the vendor", async () => {
    const keys = await query<{ name: string; from: string[]; to: string[] }>(
      `select c.conname as name, ${COLUMNS_OF("c.conkey", "c.conrelid")} as from,
              ${COLUMNS_OF("c.confkey", "c.confrelid")} as to
         from pg_constraint c where c.contype = 'f' and c.connamespace = 'public'::regnamespace`,
    );
    expect(keys.length).toBeGreaterThan(20);
    expect(keys.filter(({ from, to }) => from[0] !== "vendor_id" || to[0] !== "vendor_id")).toEqual(
      [],
    );
  });

  it("have indexes that row-level security can use: leakproof operators only", async () => {
    const leaky = `select distinct i.indexrelid::regclass || ' ' || o.oprname || ' ' || p.proname as name
      from (${VENDOR_TABLES}) t
      join pg_index i on i.indrelid = t.oid
      cross join unnest(i.indclass) as k (class)
      join pg_opclass c on c.oid = k.class
      join pg_amop m on m.amopfamily = c.opcfamily and m.amoplefttype = c.opcintype
       and m.amoprighttype = c.opcintype and m.amopstrategy = 3
      join pg_operator o on o.oid = m.amopopr
      join pg_proc p on p.oid = o.oprcode
     where not p.proleakproof`;
    expect(await names(leaky)).toEqual([]);
  });

  it("have no sequence, no materialised view and no foreign table beside them", async () => {
    const odd = `select c.oid::regclass::text as name from pg_class c
      where c.relnamespace in ('public'::regnamespace, 'wall'::regnamespace) and c.relkind in ('S', 'm', 'f')`;
    expect(await names(odd)).toEqual([]);
  });
});

describe("roles", () => {
  it("are no superusers, bypass nothing and create nothing", async () => {
    const found = await names(
      `select rolname as name from pg_roles where rolname like 'holdfast%'
        and not (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication) order by 1`,
    );
    expect(found).toEqual(ROLES);
  });

  it("let the app role own nothing and be nobody else", async () => {
    const owned = `select c.oid::regclass::text as name from pg_class c
      where pg_has_role('holdfast_app', c.relowner, 'MEMBER')
      union select oid::regprocedure::text from pg_proc where proowner = 'holdfast_app'::regrole`;
    expect(await names(owned)).toEqual([]);
    const memberships = `select roleid::regrole::text as name from pg_auth_members
      where member in ('holdfast_app'::regrole, 'holdfast_key'::regrole)`;
    expect(await names(memberships)).toEqual([]);
  });

  it("give the app role no way to truncate, to refer, to trigger or to read the wall's tables", async () => {
    const wrong = `select t.name || ' ' || p.privilege as name from (${TABLES}) t
      cross join unnest(array['TRUNCATE', 'REFERENCES', 'TRIGGER']) as p (privilege)
      where has_table_privilege('holdfast_app', t.oid, p.privilege)
      union all select t.name from (${TABLES}) t where t.nspname = 'wall'
        and has_any_column_privilege('holdfast_app', t.oid, 'SELECT, INSERT, UPDATE')
      union all select t.name from (${TABLES}) t where t.relispartition
        and has_any_column_privilege('holdfast_app', t.oid, 'SELECT, INSERT, UPDATE')`;
    expect(await names(wrong)).toEqual([]);
  });

  it("let the key login insert keys and nothing else", async () => {
    const rights = `select t.name || ' ' || p.privilege as name from (${TABLES}) t
      cross join unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE']) as p (privilege)
      where has_table_privilege('holdfast_key', t.oid, p.privilege)`;
    expect(await names(rights)).toEqual(["wall.context_key INSERT"]);
  });

  it("keep temporary tables, which could shadow real ones, from everybody", async () => {
    const may = `select r.name from unnest(array['holdfast_app', 'holdfast_key']) as r (name)
      where has_database_privilege(r.name, current_database(), 'TEMPORARY')
         or has_schema_privilege(r.name, 'public', 'CREATE') or has_schema_privilege(r.name, 'wall', 'CREATE')`;
    expect(await names(may)).toEqual([]);
  });
});

describe("views and functions", () => {
  it("have views that run as the view role, behind a barrier", async () => {
    const wrong = `select c.relname as name from pg_class c
      where c.relnamespace in ('public'::regnamespace, 'wall'::regnamespace) and c.relkind = 'v'
        and not (c.relowner = 'holdfast_view'::regrole and 'security_barrier=true' = any (c.reloptions))`;
    expect(await names(wrong)).toEqual([]);
  });

  it("have definer functions from the list only, with a fixed search path, owned by the owner", async () => {
    const definers = await query<{ name: string; isSafe: boolean }>(
      `select proname as name, proowner = 'holdfast_owner'::regrole
              and 'search_path=pg_catalog, pg_temp' = any (proconfig) as "isSafe"
         from pg_proc where prosecdef and pronamespace in ('public'::regnamespace, 'wall'::regnamespace)
        order by proname`,
    );
    expect(definers).toEqual(DEFINERS.map((name) => ({ name, isSafe: true })));
  });

  it("let nobody call a function of the wall that was not granted", async () => {
    const open = `select oid::regprocedure::text as name from pg_proc
      where pronamespace = 'wall'::regnamespace and has_function_privilege('public', oid, 'EXECUTE')`;
    expect(await names(open)).toEqual([]);
  });
});
