/**
 * Brings a database to this program's schema: numbered files, forward only, each in a transaction of its
 * own under one lock, so that two starters and a kill at any moment are safe. Refuses a schema that is
 * newer than the program and a file that changed after it was applied.
 */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { digestOf } from "@holdfast/shared/digest.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import type pg from "pg";
import { type Connection, type Database, withClient } from "./database.ts";
import { APP_ROLE, prepareRoles } from "./roles.ts";
import { databaseFault } from "./sqlstate.ts";

export const MIGRATIONS_DIR = join(import.meta.dirname, "migrations");
/** PostgreSQL below this lacks what the SQL uses. */
export const SERVER_VERSION_MIN = 150_000;
export const CLOCK_SKEW_MS_MAX = 5_000;
const MIGRATION_MS_MAX = 600_000;
/** Any number; the same in every release, so that all starters meet at one lock. */
const LOCK = 7_402_118;

export type Migration = Readonly<{ number: number; name: string; sql: string; digest: string }>;

export async function readMigrations(dir: string = MIGRATIONS_DIR): Promise<readonly Migration[]> {
  const names = (await readdir(dir)).filter((name) => /^\d{6}_[a-z_]+\.sql$/.test(name)).sort();
  return Promise.all(
    names.map(async (name) => {
      const bytes = await readFile(join(dir, name));
      return {
        number: Number(name.slice(0, 6)),
        name,
        sql: bytes.toString("utf8"),
        digest: digestOf(bytes),
      };
    }),
  );
}

/** Applies what is missing and returns the names of what it applied. `owner` may set the role holdfast_owner. */
export function migrate(
  owner: Connection,
  migrations: readonly Migration[],
): Promise<readonly string[]> {
  return withClient(owner, "holdfast-migrate", async (client) => {
    await prepareRoles(client, LOCK);
    const applied: string[] = [];
    for (const migration of migrations) {
      if (await apply(client, migration, migrations)) applied.push(migration.name);
    }
    return applied;
  });
}

async function apply(
  client: pg.Client,
  migration: Migration,
  all: readonly Migration[],
): Promise<boolean> {
  await client.query("begin");
  try {
    await client.query(`select pg_advisory_xact_lock(${LOCK})`);
    await client.query(`set local statement_timeout = ${MIGRATION_MS_MAX}`);
    await client.query("set local role holdfast_owner");
    await client.query(LEDGER);
    const { rows } = await client.query<{ number: number; digest: string }>(
      "select number, digest from wall.migration order by number",
    );
    judgeLedger(rows, all);
    const isNew = rows.every(({ number }) => number !== migration.number);
    if (isNew) {
      await client.query(migration.sql);
      await client.query("insert into wall.migration (number, name, digest) values ($1, $2, $3)", [
        migration.number,
        migration.name,
        migration.digest,
      ]);
    }
    await client.query("commit");
    return isNew;
  } catch (error) {
    await client.query("rollback").catch(() => undefined);
    if (error instanceof Fault) throw error;
    throw new Fault("INTERNAL", "MIGRATION_FAILED", `migration ${migration.name} failed`, {
      cause: databaseFault(error).cause ?? error,
    });
  }
}

const LEDGER = `
  create schema if not exists wall;
  do $$
  begin
    if to_regclass('wall.migration') is null then
      create table wall.migration (
        number integer primary key,
        name text not null,
        digest text not null,
        applied_at timestamptz not null default now()
      );
      alter table wall.migration enable row level security;
      alter table wall.migration force row level security;
      create policy owner_only on wall.migration to holdfast_owner using (true) with check (true);
    end if;
  end
  $$`;

function judgeLedger(
  applied: readonly Readonly<{ number: number; digest: string }>[],
  known: readonly Migration[],
): void {
  for (const { number, digest } of applied) {
    const file = known.find((each) => each.number === number);
    if (file === undefined) throw schemaNewer(number, known.at(-1)?.number ?? 0);
    if (file.digest !== digest) {
      throw new Fault(
        "FAILED_PRECONDITION",
        "MIGRATION_CHANGED",
        `migration ${file.name} is not the one that was applied; a migration never changes after release`,
      );
    }
  }
}

function schemaNewer(found: number, known: number): Fault {
  return new Fault(
    "FAILED_PRECONDITION",
    "SCHEMA_NEWER",
    `the database has schema ${found}; this program knows schemas up to ${known}`,
    { next: "install the release of holdfast-hub that upgraded this database" },
  );
}

/**
 * All reasons not to serve from this database, each a fault of code FAILED_PRECONDITION: SERVER_TOO_OLD,
 * SCHEMA_NEWER, SCHEMA_OLD, APP_ROLE_UNSAFE, CLOCK_SKEW. Empty: serve.
 */
export async function serveProblems(
  database: Database,
  migrations: readonly Migration[],
): Promise<readonly Fault[]> {
  const { rows } = await database.pool.query<Facts>(FACTS).catch((error: unknown) => {
    throw databaseFault(error);
  });
  const [facts] = rows;
  if (facts === undefined)
    throw new Fault("INTERNAL", "DATABASE", "the database says nothing of itself");
  const schema = await schemaVersion(database);
  const known = migrations.at(-1)?.number ?? 0;
  return judgeServing({ ...facts, schema, known, hubNow: database.clock.now() });
}

/** Pure. */
export function judgeServing(facts: ServingFacts): readonly Fault[] {
  const { schema, known, hubNow } = facts;
  const problems: Fault[] = [];
  const refuse = (reason: string, message: string, next: string) =>
    problems.push(new Fault("FAILED_PRECONDITION", reason, message, { next }));
  if (facts.server < SERVER_VERSION_MIN) {
    refuse(
      "SERVER_TOO_OLD",
      `PostgreSQL ${facts.server_text}; 15 or newer is needed`,
      "upgrade PostgreSQL",
    );
  }
  if (facts.unsafe !== "") {
    refuse(
      "APP_ROLE_UNSAFE",
      `database role ${facts.role} ${facts.unsafe}; the wall between tenants would not hold`,
      `let database_url log in as ${APP_ROLE}`,
    );
  }
  if (schema > known) problems.push(schemaNewer(schema, known));
  if (schema < known) {
    refuse(
      "SCHEMA_OLD",
      `the database has schema ${schema}; schema ${known} is needed`,
      "holdfast-hub migrate",
    );
  }
  const skew = Math.abs(facts.now - hubNow);
  if (skew > CLOCK_SKEW_MS_MAX) {
    const text = `the clocks of hub and database differ by ${Math.round(skew)} ms; at most ${CLOCK_SKEW_MS_MAX}`;
    refuse("CLOCK_SKEW", text, "timedatectl status");
  }
  return problems;
}

export type ServingFacts = Facts & Readonly<{ schema: number; known: number; hubNow: number }>;

type Facts = Readonly<{
  server: number;
  server_text: string;
  role: string;
  unsafe: string;
  now: number;
}>;

const FACTS = `
  select current_setting('server_version_num')::int as server,
         current_setting('server_version') as server_text,
         current_user as role,
         (extract(epoch from clock_timestamp()) * 1000)::float8 as now,
         concat_ws(' and ',
           case when r.rolsuper then 'is superuser' end,
           case when r.rolbypassrls then 'has BYPASSRLS' end,
           case when exists (
             select from pg_class c join pg_namespace n on n.oid = c.relnamespace
              where n.nspname in ('public', 'wall') and pg_has_role(current_user, c.relowner, 'MEMBER')
           ) then 'owns tables' end) as unsafe
    from pg_roles r where r.rolname = current_user`;

async function schemaVersion({ pool }: Database): Promise<number> {
  try {
    const { rows } = await pool.query<{ version: number }>(
      "select wall.schema_version() as version",
    );
    return rows[0]?.version ?? 0;
  } catch (error) {
    // An empty database has no schema wall (3F000) or not yet the function (42883).
    if (/^(3F000|42883|42501)$/.test((error as { code?: string }).code ?? "")) return 0;
    throw databaseFault(error);
  }
}
