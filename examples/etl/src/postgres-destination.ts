/**
 * Writes to a PostgreSQL, one transaction per batch. Leases run by the server's clock, since holders may be on
 * different machines. Counts are read on a second connection, so that a scrape never sees an open transaction.
 */
import type pg from "pg";
import { integer, text } from "./decode.ts";
import {
  type Batch,
  type CopiedRow,
  type Destination,
  type Lease,
  progressAfter,
  type WriteOutcome,
} from "./model.ts";
import { postgresPool } from "./postgres-pool.ts";
import type { DestinationDeps } from "./sqlite-destination.ts";

const CONNECTIONS_MAX = 2;
/** Two copies that start at once must not both create the tables. Any number; this one is ours. */
const SCHEMA_LOCK = 7_046_029_254;

const SCHEMA = `
create table if not exists etl_destination (
  only_row int primary key check (only_row = 1), id text not null, created_at timestamptz not null);
create table if not exists etl_lease (
  only_row int primary key check (only_row = 1), holder text not null, fencing bigint not null,
  expires_at timestamptz not null);
create table if not exists etl_checkpoint (
  seat text primary key, account text not null, last_id bigint not null, row_count bigint not null);
create table if not exists etl_row (
  seat text not null, source_id bigint not null, account text not null, amount_cents bigint not null,
  currency text not null, note text not null, created_at text not null, release text not null,
  fencing bigint not null, amount_eur_cents bigint, primary key (seat, source_id));
insert into etl_lease values (1, '', 0, 'epoch') on conflict do nothing;`;

const EXPIRY = "clock_timestamp() + make_interval(secs => $1::float8 / 1000)";

/** Connects and creates what is missing. Throws when the server is not there. */
export async function openPostgresDestination(
  dsn: string,
  deps: DestinationDeps,
): Promise<Destination> {
  const pool = postgresPool(dsn, { connectionsMax: CONNECTIONS_MAX, readOnly: false });
  try {
    const id = await inTransaction(pool, (client) => createSchema(client, deps));
    return new PostgresDestination(pool, id, deps.leaseMs);
  } catch (error) {
    await pool.end();
    throw error;
  }
}

class PostgresDestination implements Destination {
  readonly id: string;
  readonly #pool: pg.Pool;
  readonly #leaseMs: number;

  constructor(pool: pg.Pool, id: string, leaseMs: number) {
    this.id = id;
    this.#pool = pool;
    this.#leaseMs = leaseMs;
  }

  async acquire(holder: string): Promise<Lease | undefined> {
    const isFree = "(holder in ('', $1) or expires_at <= clock_timestamp())";
    // Looking first keeps a stand-by, which asks many times a second, from waiting for the holder's row lock.
    const seen = await this.#pool.query(`select 1 from etl_lease where ${isFree}`, [holder]);
    if (seen.rowCount === 0) return undefined;
    const taken = await this.#pool.query(
      `update etl_lease set holder = $1, fencing = fencing + 1,
         expires_at = ${EXPIRY.replace("$1", "$2")}
       where ${isFree} returning fencing`,
      [holder, this.#leaseMs],
    );
    const [row] = taken.rows;
    return row && { holder, fencing: integer(row, "fencing", "lease") };
  }

  async renew(lease: Lease): Promise<boolean> {
    return extend(this.#pool, lease, this.#leaseMs);
  }

  async release(lease: Lease): Promise<void> {
    await this.#pool.query(
      "update etl_lease set holder = '', expires_at = 'epoch' where holder = $1 and fencing = $2",
      [lease.holder, lease.fencing],
    );
  }

  async progress(): ReturnType<Destination["progress"]> {
    const { rows } = await this.#pool.query("select seat, last_id, row_count from etl_checkpoint");
    return new Map(
      rows.map((row) => {
        const seat = text(row, "seat", "checkpoint");
        return [
          seat,
          { lastId: integer(row, "last_id", seat), rowCount: integer(row, "row_count", seat) },
        ];
      }),
    );
  }

  async write(lease: Lease, batch: Batch): Promise<WriteOutcome> {
    return inTransaction(this.#pool, async (client) => {
      if (!(await extend(client, lease, this.#leaseMs))) return "lease_lost";
      if (!(await advance(client, batch))) return "moved";
      await insertRows(client, lease, batch);
      return "written";
    });
  }

  async close(): Promise<void> {
    await this.#pool.end();
  }
}

type Queries = Pick<pg.ClientBase, "query">;

/** The check and the renewal of the lease are one statement, whose row lock holds off a take-over until the commit. */
async function extend(on: pg.Pool | Queries, lease: Lease, leaseMs: number): Promise<boolean> {
  const { rowCount } = await on.query(
    `update etl_lease set expires_at = ${EXPIRY} where holder = $2 and fencing = $3`,
    [leaseMs, lease.holder, lease.fencing],
  );
  return rowCount === 1;
}

async function advance(client: Queries, batch: Batch): Promise<boolean> {
  const { from, seat } = batch;
  const after = progressAfter(batch);
  await client.query("insert into etl_checkpoint values ($1, $2, 0, 0) on conflict do nothing", [
    seat.id,
    seat.name,
  ]);
  const { rowCount } = await client.query(
    `update etl_checkpoint set account = $2, last_id = $3, row_count = $4
      where seat = $1 and last_id = $5 and row_count = $6`,
    [seat.id, seat.name, after.lastId, after.rowCount, from.lastId, from.rowCount],
  );
  return rowCount === 1;
}

async function insertRows(client: Queries, lease: Lease, { seat, rows }: Batch): Promise<void> {
  const column = <K extends keyof CopiedRow>(name: K) => rows.map((row) => row[name]);
  await client.query(
    `insert into etl_row (seat, fencing, source_id, account, amount_cents, currency, note, created_at,
       release, amount_eur_cents)
     select $1, $2, * from unnest($3::bigint[], $4::text[], $5::bigint[], $6::text[], $7::text[],
       $8::text[], $9::text[], $10::bigint[])`,
    [
      seat.id,
      lease.fencing,
      column("sourceId"),
      column("account"),
      column("amountCents"),
      column("currency"),
      column("note"),
      column("createdAt"),
      column("release"),
      column("amountEurCents"),
    ],
  );
}

async function createSchema(client: Queries, deps: DestinationDeps): Promise<string> {
  await client.query("select pg_advisory_xact_lock($1)", [SCHEMA_LOCK]);
  await client.query(SCHEMA);
  await client.query(
    "insert into etl_destination values (1, $1, clock_timestamp()) on conflict do nothing",
    [deps.newId()],
  );
  const { rows } = await client.query("select id from etl_destination");
  return text(rows[0] ?? {}, "id", "destination");
}

async function inTransaction<T>(pool: pg.Pool, work: (client: Queries) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  try {
    await client.query("begin");
    const result = await work(client);
    await client.query(result === "moved" ? "rollback" : "commit");
    client.release();
    return result;
  } catch (error) {
    client.release(true); // Ends the connection, and with it whatever is left of the transaction.
    throw error;
  }
}
