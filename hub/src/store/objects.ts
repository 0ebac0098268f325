/**
 * What all kinds of API objects have in common in the database: find by id or name, page, insert, replace,
 * mark as deleted. One definition for each table; names of tables and columns are constants of the program,
 * never input. Knows nothing of what a kind means.
 */
import { Fault } from "@holdfast/shared/fault.ts";
import type { Tx } from "./tx.ts";

/** A table that has the common columns of objects (migration 000002). */
export type ObjectTable = Readonly<{
  table: string;
  /** In labels and events. */
  kind: string;
  /** Columns of its own. */
  columns: readonly string[];
  /** Those of them that are jsonb. */
  json: readonly string[];
}>;

/** Columns of its own, as pg gives them: bigint, Date, parsed jsonb. */
export type Fields = Readonly<Record<string, unknown>>;

export type ObjectRow = Readonly<{
  tenantId: string;
  /** Name of the tenant; empty for the vendor's own. */
  tenantName: string;
  id: string;
  name: string;
  labels: Readonly<Record<string, string>>;
  annotations: Readonly<Record<string, string>>;
  generation: bigint;
  revision: bigint;
  createdAt: Date;
  updatedAt: Date;
  deletedAt: Date | undefined;
  finalizers: readonly string[];
  fields: Fields;
}>;

type RawRow = Fields & {
  tenant_id: string;
  tenant_name: string | null;
  id: string;
  name: string;
  labels: Record<string, string>;
  annotations: Record<string, string>;
  generation: bigint;
  revision: bigint;
  created_at: Date;
  updated_at: Date;
  deleted_at: Date | null;
  finalizers: string[];
};

const SELECT = `
  select t.*, o.name as tenant_name,
         coalesce((select jsonb_object_agg(l.key, l.value) from object_label l
                    where l.vendor_id = t.vendor_id and l.tenant_id = t.tenant_id
                      and l.kind = $1 and l.object_id = t.id), '{}') as labels`;

function from({ table }: ObjectTable): string {
  return `from ${table} t
          left join tenant o on o.vendor_id = t.vendor_id and o.tenant_id = t.tenant_id and o.id = t.tenant_id`;
}

function rowOf(raw: RawRow): ObjectRow {
  return {
    tenantId: raw.tenant_id,
    tenantName: raw.tenant_name ?? "",
    id: raw.id,
    name: raw.name,
    labels: raw.labels,
    annotations: raw.annotations,
    generation: raw.generation,
    revision: raw.revision,
    createdAt: raw.created_at,
    updatedAt: raw.updated_at,
    deletedAt: raw.deleted_at ?? undefined,
    finalizers: raw.finalizers,
    fields: raw,
  };
}

/** By id, or by name within one owner, or by name whoever owns it. */
export type ObjectKey = Readonly<{ id: string } | { name: string; tenantId?: string }>;

/** One by its id, also where it is gone. `lock` holds the row until the end. */
export async function findEver(
  tx: Tx,
  table: ObjectTable,
  id: string,
  lock: boolean,
): Promise<ObjectRow | undefined> {
  const [raw] = await tx.query<RawRow>(
    `${SELECT} ${from(table)} where t.id = $2 ${lock ? "for update of t" : ""}`,
    [table.kind, id],
  );
  return raw && rowOf(raw);
}

/** Those that are visible and not gone; at most 2, so that an ambiguous name shows. `lock` holds the rows until the end. */
export async function find(
  tx: Tx,
  table: ObjectTable,
  key: ObjectKey,
  lock: boolean,
): Promise<readonly ObjectRow[]> {
  const isById = "id" in key;
  const params: unknown[] = [table.kind, isById ? key.id : key.name];
  let where = isById ? "t.id = $2" : "t.name = $2";
  if (!isById && key.tenantId !== undefined) {
    params.push(key.tenantId);
    where += " and t.tenant_id = $3";
  }
  const rows = await tx.query<RawRow>(
    `${SELECT} ${from(table)}
      where t.gone_at is null and ${where}
      order by t.tenant_id limit 2 ${lock ? "for update of t" : ""}`,
    params,
  );
  return rows.map(rowOf);
}

/** A condition on the row `t`; `bind` gives the place of a value. Only the store makes them. */
export type Condition = (bind: (value: unknown) => string) => string;

export type PageQuery = Readonly<{
  tenantId?: string | undefined;
  labels?: Readonly<Record<string, string>>;
  /** Own columns that must have these values. */
  equal?: Readonly<Record<string, unknown>>;
  /** All of them must hold. */
  conditions?: readonly Condition[];
  after?: Readonly<{ name: string; id: string }> | undefined;
  limit: number;
  order?: PageOrder;
}>;

/** Ids begin with the time at which they were made, so that they give the order of creation without a tie. */
export type PageOrder = Readonly<{ by: "name" | "create_time"; descending: boolean }>;

const BY_NAME: PageOrder = { by: "name", descending: false };

function afterOf(
  { name, id }: Readonly<{ name: string; id: string }>,
  { by, descending }: PageOrder,
  bind: (value: unknown) => string,
): string {
  const than = descending ? "<" : ">";
  return by === "name"
    ? `(t.name, t.id) ${than} (${bind(name)}, ${bind(id)})`
    : `t.id ${than} ${bind(id)}`;
}

/** In the order of name and id, or as asked. */
export async function page(
  tx: Tx,
  table: ObjectTable,
  query: PageQuery,
): Promise<readonly ObjectRow[]> {
  const { order = BY_NAME } = query;
  const params: unknown[] = [table.kind, query.limit];
  const bind = (value: unknown) => `$${params.push(value)}`;
  const conditions = ["t.gone_at is null"];
  const tenantId = query.tenantId ?? onlyTenantOf(tx);
  if (tenantId !== undefined) conditions.push(`t.tenant_id = ${bind(tenantId)}`);
  for (const [column, value] of Object.entries(query.equal ?? {})) {
    conditions.push(`t.${columnOf(table, column)} = ${bind(value)}`);
  }
  for (const condition of query.conditions ?? []) conditions.push(condition(bind));
  const labels = Object.entries(query.labels ?? {});
  if (labels.length > 0) {
    const keys = bind(labels.map(([key]) => key));
    const values = bind(labels.map(([, value]) => value));
    conditions.push(`not exists (
      select from unnest(${keys}::text[], ${values}::text[]) w(key, value)
       where not exists (select from object_label l
              where l.vendor_id = t.vendor_id and l.kind = $1 and l.key = w.key
                and l.value = w.value and l.object_id = t.id))`);
  }
  if (query.after !== undefined) {
    conditions.push(afterOf(query.after, order, bind));
  }
  const way = order.descending ? "desc" : "asc";
  const sorted = order.by === "name" ? `t.name ${way}, t.id ${way}` : `t.id ${way}`;
  const read = () =>
    tx.query<RawRow>(
      `${SELECT} ${from(table)} where ${conditions.join(" and ")} order by ${sorted} limit $2`,
      params,
    );
  const rows = await (order.by === "name" ? inIndexOrder(tx, read) : read());
  return rows.map(rowOf);
}

/** The planner cannot know that a range of the wall is one tenant, and an equality leads it to the right index. */
function onlyTenantOf({ context }: Tx): string | undefined {
  return context.tenantLo === context.tenantHi ? context.tenantLo : undefined;
}

/**
 * Has the planner read a page in the order of an index. It takes every range of the wall for a narrow one, expects
 * a single row and would rather sort all that the caller may see: 24 ms instead of 0.5 of 10,000 instances.
 */
async function inIndexOrder<T>(tx: Tx, work: () => Promise<T>): Promise<T> {
  await tx.query("select set_config('enable_sort', 'off', true)");
  const answer = await work();
  await tx.query("select set_config('enable_sort', 'on', true)");
  return answer;
}

export type NewObject = Readonly<{
  tenantId: string;
  id: string;
  name: string;
  annotations: Readonly<Record<string, string>>;
  fields: Fields;
}>;

/** Throws ALREADY_EXISTS if the name is taken. */
export async function insert(tx: Tx, table: ObjectTable, object: NewObject): Promise<void> {
  const values = [
    object.tenantId,
    object.id,
    object.name,
    JSON.stringify(object.annotations),
    ...table.columns.map((column) => toSql(table, column, object.fields[column])),
  ];
  const columns = ["tenant_id", "id", "name", "annotations", ...table.columns];
  const places = columns.map((_, at) => `$${at + 1}`);
  await tx.query(
    `insert into ${table.table} (${columns.join(", ")}) values (${places.join(", ")})`,
    values,
  );
}

export type Replacement = Readonly<{
  tenantId: string;
  id: string;
  /** That of the row as it was read and locked. */
  revision: bigint;
  annotations: Readonly<Record<string, string>>;
  specChanged: boolean;
  fields: Fields;
}>;

/** Throws ABORTED `CONFLICT` if the row is no longer at that revision. */
export async function replace(tx: Tx, table: ObjectTable, change: Replacement): Promise<void> {
  const params: unknown[] = [
    change.tenantId,
    change.id,
    change.revision,
    JSON.stringify(change.annotations),
    change.specChanged ? 1 : 0,
  ];
  const sets = table.columns.map(
    (column) => `${column} = $${params.push(toSql(table, column, change.fields[column]))}`,
  );
  const rows = await tx.query(
    `update ${table.table}
        set ${["annotations = $4", "generation = generation + $5", ...sets].join(", ")},
            revision = revision + 1, updated_at = now()
      where tenant_id = $1 and id = $2 and revision = $3 and gone_at is null
  returning id`,
    params,
  );
  if (rows.length === 0) throw conflict(table);
}

export type Ending = Readonly<{
  tenantId: string;
  id: string;
  /** What it still waits for; with nothing to wait for it is gone at once. */
  finalizers: readonly string[];
}>;

/** Sets delete_time if it is not yet set, and the finalizers; the row is gone once there are none. */
export async function end(tx: Tx, table: ObjectTable, ending: Ending): Promise<void> {
  const rows = await tx.query(
    `update ${table.table}
        set deleted_at = coalesce(deleted_at, now()), finalizers = $3::text[],
            gone_at = case when cardinality($3::text[]) = 0 then now() end,
            revision = revision + 1, updated_at = now()
      where tenant_id = $1 and id = $2 and gone_at is null
  returning id`,
    [ending.tenantId, ending.id, ending.finalizers],
  );
  if (rows.length === 0) throw conflict(table);
}

/** The labels of one object, as a whole. */
export async function setLabels(
  tx: Tx,
  { kind }: ObjectTable,
  object: Readonly<{ tenantId: string; id: string }>,
  labels: Readonly<Record<string, string>>,
): Promise<void> {
  const params = [object.tenantId, kind, object.id, Object.keys(labels)];
  await tx.query(
    `delete from object_label
      where tenant_id = $1 and kind = $2 and object_id = $3 and key <> all ($4::text[])`,
    params,
  );
  await tx.query(
    `insert into object_label (tenant_id, kind, object_id, key, value)
     select $1, $2, $3, key, value from unnest($4::text[], $5::text[]) as w(key, value)
         on conflict (vendor_id, tenant_id, kind, object_id, key) do update set value = excluded.value
      where object_label.value <> excluded.value`,
    [...params, Object.values(labels)],
  );
}

/** Names of objects by id, for showing references. Ids that are not visible are left out. */
export async function namesOf(
  tx: Tx,
  table: string,
  ids: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  if (ids.length === 0) return new Map();
  const rows = await tx.query<{ id: string; name: string }>(
    `select id, name from ${table} where id = any ($1::uuid[])`,
    [[...new Set(ids)]],
  );
  return new Map(rows.map(({ id, name }) => [id, name]));
}

function columnOf({ table, columns }: ObjectTable, column: string): string {
  if (columns.includes(column)) return column;
  throw new RangeError(`${table} has no column ${column}`);
}

function toSql({ json }: ObjectTable, column: string, value: unknown): unknown {
  return json.includes(column) ? JSON.stringify(value ?? {}) : (value ?? null);
}

function conflict({ kind }: ObjectTable): Fault {
  return new Fault("ABORTED", "CONFLICT", `another change of the ${kind} came in between`);
}
