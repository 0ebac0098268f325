/**
 * What a call of the vendor API costs with 10,000 instances behind the wall: get one, list a page of 50, change one.
 * The yardstick is a program that asks the same database for the same facts by `pg`, as a superuser, to whom the
 * wall does not apply, in as few statements as SQL allows.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Client } from "@connectrpc/connect";
import { CellKind, CellService } from "@holdfast/proto/holdfast/api/v1/cell_pb.js";
import { type Instance, InstanceService } from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import pg from "pg";
import type { Fleet } from "../../scripts/fleet/fleet.ts";
import { running } from "../../scripts/fleet/processes.ts";
import { type ApiConnection, connect } from "./connection.ts";
import { type BenchResult, machine, quantile, rounded } from "./figures.ts";
import { withFleet } from "./fleet.ts";
import { cpuMs } from "./processor.ts";

const INSTANCES = 10_000;
const PAGE = 50;
const CALLS = 200;
/** Of one side, then of the other: by turns each would find the processor's caches full of the other's work. */
const BLOCK_CALLS = 20;
/** A hub runs for weeks: its code is compiled when it is asked. */
const WARM_UP_CALLS = 1_000;
const CELL = "spare";
const TENANT = "initech";
const NAME = (at: number) => `copy-${String(at).padStart(5, "0")}`;

type Instances = Client<typeof InstanceService>;
type Kind = "get" | "list" | "apply";
type Sample = Readonly<{ ms: number; bareMs: number }>;

export function bench(): Promise<BenchResult> {
  return withFleet({ logLevel: "info", sampleWindowMs: 60_000 }, async (fleet) => {
    const api = connect(fleet);
    const database = await connectDatabase(fleet);
    try {
      const vendorId = await fill(api, database);
      const sides = { instances: api.client(InstanceService), database, vendorId };
      const hub = running(fleet.layout.processes, "hub")?.pid ?? 0;
      const kinds: readonly [Kind, Pair][] = [
        ["get", getOf(sides)],
        ["list", listOf(sides)],
        ["apply", await applyOf(sides)],
      ];
      const results: Result[] = [];
      for (const [kind, pair] of kinds) results.push({ kind, ...(await measure(pair, hub)) });
      return resultOf(results);
    } finally {
      await database.end();
      api.close();
    }
  });
}

/** The hub's own private server, found as PostgreSQL says it: line 4 of its pid file is the port, line 5 the socket. */
async function connectDatabase(fleet: Fleet): Promise<pg.Client> {
  const path = join(fleet.layout.hub.data, "pgdata", "postmaster.pid");
  const lines = readFileSync(path, "utf8").split("\n");
  const client = new pg.Client({
    host: lines[4] ?? "",
    port: Number(lines[3]),
    user: "postgres",
    database: "holdfast",
  });
  await client.connect();
  return client;
}

/** Copies of the fleet's dedicated instance with all that belongs to it, in a cell that has no agent. */
async function fill(api: ApiConnection, database: pg.Client): Promise<string> {
  const metadata = { name: CELL, tenant: TENANT };
  await api.client(CellService).createCell({ cell: { metadata, spec: { kind: CellKind.BYOA } } });
  await database.query("begin");
  await database.query(
    `create temporary table copied on commit drop as
     select gen_random_uuid() as id, 'copy-' || lpad(n::text, 5, '0') as name, i.id as original,
            c.id as cell_id, i.vendor_id, i.tenant_id
       from generate_series(1, ${INSTANCES}) n, cell c,
            (select * from instance where tenant_id <> '00000000-0000-0000-0000-000000000000' limit 1) i
      where c.name = $1`,
    [CELL],
  );
  for (const table of ["instance", "instance_status", "assignment", "entitlement"]) {
    await database.query(await copyStatement(database, table));
  }
  await database.query("commit");
  await database.query("create table yardstick_event (id bigserial primary key, payload text)");
  await database.query("analyze");
  const { rows } = await database.query<{ id: string }>(
    "select vendor_id as id from instance where name = $1",
    [NAME(1)],
  );
  return rows[0]?.id ?? "";
}

/** Inserts the copies' rows of one table: all columns as they are but the ids and names. */
async function copyStatement(database: pg.Client, table: string): Promise<string> {
  const { rows } = await database.query<{ name: string }>(
    `select attname as name from pg_attribute
      where attrelid = $1::regclass and attnum > 0 and not attisdropped`,
    [table],
  );
  const key = table === "instance" ? "id" : "instance_id";
  const columns = rows.map(({ name }) => name);
  const values = columns.map((name) => {
    if (name === key) return "copied.id";
    return name === "cell_id" || (name === "name" && table === "instance")
      ? `copied.${name}`
      : `t.${name}`;
  });
  return `insert into ${table} (${columns.join(", ")})
          select ${values.join(", ")} from ${table} t join copied on copied.original = t.${key}
           where t.vendor_id = copied.vendor_id`;
}

/** The same work twice: through the API, and without us. */
type Pair = Readonly<{ call(at: number): Promise<unknown>; bare(at: number): Promise<unknown> }>;

const FACTS = `
  select i.*, p.name as product, r.version, l.name as plan, c.name as cell, s.name as subscription,
         t.report, t.conditions, t.outputs, a.name as agent, e.closed_at, e.opened_at,
         (select count(*) from seat where vendor_id = i.vendor_id and instance_id = i.id) as seats,
         (select jsonb_object_agg(o.key, o.value) from object_label o
           where o.vendor_id = i.vendor_id and o.object_id = i.id) as labels
    from instance i
    join product p on p.vendor_id = i.vendor_id and p.id = i.product_id
    join release r on r.vendor_id = i.vendor_id and r.id = i.release_id
    join plan l on l.vendor_id = i.vendor_id and l.id = i.plan_id
    join cell c on c.vendor_id = i.vendor_id and c.id = i.cell_id
    left join subscription s on s.vendor_id = i.vendor_id and s.id = i.subscription_id
    left join instance_status t on t.vendor_id = i.vendor_id and t.instance_id = i.id
    left join agent a on a.vendor_id = i.vendor_id and a.cell_id = i.cell_id and a.gone_at is null
    left join agent_session e on e.vendor_id = a.vendor_id and e.agent_id = a.id
   where i.vendor_id = $1 and i.gone_at is null`;

type Sides = Readonly<{ instances: Instances; database: pg.Client; vendorId: string }>;

function getOf({ instances, database, vendorId }: Sides): Pair {
  return {
    call: (at) => instances.getInstance({ instance: NAME(spot(at)) }),
    bare: (at) => database.query(`${FACTS} and i.name = $2`, [vendorId, NAME(spot(at))]),
  };
}

/** The page that follows a name, as page tokens do. */
function listOf({ instances, database, vendorId }: Sides): Pair {
  let token = "";
  return {
    async call() {
      const page = await instances.listInstances({ pageSize: PAGE, pageToken: token });
      token = page.nextPageToken;
    },
    bare: (at) =>
      database.query(`${FACTS} and i.name > $2 order by i.name, i.id limit ${PAGE}`, [
        vendorId,
        NAME(at * PAGE),
      ]),
  };
}

/** One parameter of one instance; bare: its row, its stored assignment and an event, in one transaction. */
async function applyOf({ instances, database, vendorId }: Sides): Promise<Pair> {
  const found = await Promise.all(
    [1, 2, 3].map(async (at) => (await instances.getInstance({ instance: NAME(at) })).instance),
  );
  const targets = found.filter((each): each is Instance => each !== undefined);
  const target = (at: number) => targets[at % targets.length] as Instance;
  return {
    call(at) {
      const { metadata, spec } = target(at);
      if (metadata === undefined || spec === undefined)
        throw new Error("an instance without a spec");
      const parameters = { ...spec.parameters, batchRows: 100 + at };
      return instances.updateInstance({
        instance: {
          metadata: { name: metadata.name, tenant: TENANT },
          spec: { ...spec, parameters },
        },
      });
    },
    async bare(at) {
      const name = target(at).metadata?.name;
      await database.query("begin");
      const { rows } = await database.query<{ id: string }>(
        "select * from instance where vendor_id = $1 and name = $2 for update",
        [vendorId, name],
      );
      const ids = [vendorId, rows[0]?.id];
      await database.query(
        `update instance set parameters = $3, generation = generation + 1, revision = revision + 1,
                updated_at = now() where vendor_id = $1 and id = $2`,
        [...ids, JSON.stringify({ batchRows: at })],
      );
      await database.query(
        `update assignment set offer = offer, updated_at = now()
          where vendor_id = $1 and instance_id = $2`,
        ids,
      );
      await database.query("insert into yardstick_event (payload) values ($1)", [
        JSON.stringify(rows[0]),
      ]);
      await database.query("commit");
    },
  };
}

/** Spread over all of them, the same in each run. */
const spot = (at: number) => ((at * 7_919) % INSTANCES) + 1;

type Measured = Readonly<{ samples: readonly Sample[]; cpuPerCallMs: number }>;
type Result = Measured & Readonly<{ kind: Kind }>;

async function measure({ call, bare }: Pair, hub: number): Promise<Measured> {
  const samples: Sample[] = [];
  for (let at = 0; at < WARM_UP_CALLS; at++) {
    await call(at);
    await bare(at);
  }
  const cpuBefore = cpuMs(hub);
  for (let from = WARM_UP_CALLS; from < WARM_UP_CALLS + CALLS; from += BLOCK_CALLS) {
    const ms = await timedBlock(from, call);
    const bareMs = await timedBlock(from, bare);
    samples.push(...ms.map((each, at) => ({ ms: each, bareMs: bareMs[at] ?? 0 })));
  }
  return { samples, cpuPerCallMs: (cpuMs(hub) - cpuBefore) / CALLS };
}

async function timedBlock(from: number, work: (at: number) => Promise<unknown>) {
  const ms: number[] = [];
  for (let at = from; at < from + BLOCK_CALLS; at++) ms.push(await timed(() => work(at)));
  return ms;
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

function resultOf(results: readonly Result[]): BenchResult {
  const entriesOf = (of: (result: Result) => Readonly<Record<string, number>>) =>
    Object.assign({}, ...results.map(of)) as Readonly<Record<string, number>>;
  const spreadOf = (name: string, samples: readonly number[]) => ({
    [`${name}_p50_ms`]: rounded(quantile(samples, 0.5)),
    [`${name}_p95_ms`]: rounded(quantile(samples, 0.95)),
  });
  return {
    name: "api",
    machine: machine(),
    figures: {
      instances: INSTANCES,
      ...entriesOf(({ kind, samples, cpuPerCallMs }) => ({
        ...spreadOf(
          kind,
          samples.map(({ ms }) => ms),
        ),
        [`${kind}_hub_cpu_ms`]: rounded(cpuPerCallMs),
      })),
    },
    yardsticks: entriesOf(({ kind, samples }) =>
      spreadOf(
        `sql_${kind}`,
        samples.map(({ bareMs }) => bareMs),
      ),
    ),
    ratios: entriesOf(({ kind, samples }) => ({
      [`${kind}_vs_sql`]: rounded(
        quantile(
          samples.map(({ ms }) => ms),
          0.5,
        ) /
          quantile(
            samples.map(({ bareMs }) => bareMs),
            0.5,
          ),
      ),
    })),
  };
}
