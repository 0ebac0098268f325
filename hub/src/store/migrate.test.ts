/** Migrations on a real PostgreSQL: twice, at once, killed half way, and refusals to serve. */
import { systemClock } from "@holdfast/shared/clock.ts";
import { NIL_UUID } from "@holdfast/shared/ids.ts";
import { beforeEach, describe, expect, it } from "vitest";
import { type Connection, type Database, openDatabase, withClient } from "./database.ts";
import { enterIncarnation } from "./hub-state.ts";
import { judgeServing, type Migration, migrate, readMigrations, serveProblems } from "./migrate.ts";
import { silentLog, useTestStore } from "./testing.ts";

const store = useTestStore();
let name: string;
let owner: Connection;
let migrations: readonly Migration[];
let count = 0;

beforeEach(async () => {
  name = `empty_${++count}`;
  await asSuperuser((client) => client.query(`create database ${name}`));
  owner = store().connection("postgres", name);
  migrations = await readMigrations();
});

const asSuperuser = <T>(work: Parameters<typeof withClient<T>>[2], database?: string) =>
  withClient<T>(store().connection("postgres", database), "test", work);

const versions = () =>
  asSuperuser(async (client) => {
    const { rows } = await client.query<{ number: number }>(
      "select number from wall.migration order by 1",
    );
    return rows.map(({ number }) => number);
  }, name);

async function problemsOf(user = "holdfast_app", skewMs = 0): Promise<readonly string[]> {
  const clock = { ...systemClock, now: () => Date.now() + skewMs };
  const database: Database = await openDatabase({
    app: store().connection(user, name),
    key: store().connection("holdfast_key", name),
    clock,
    random: Math.random,
    log: silentLog,
  });
  try {
    return (await serveProblems(database, migrations)).map(({ reason }) => reason);
  } finally {
    await database.close();
  }
}

describe("migrate", () => {
  it("applies everything once, also when it runs twice", async () => {
    expect(await migrate(owner, migrations)).toEqual(migrations.map((each) => each.name));
    expect(await migrate(owner, migrations)).toEqual([]);
    expect(await versions()).toEqual(migrations.map(({ number }) => number));
  });

  it("counts what cells and pooled instances hold already", async () => {
    const at = migrations.findIndex((each) => each.name.endsWith("_placement.sql"));
    await migrate(owner, migrations.slice(0, at));
    const id = (digit: number) => `${String(digit).repeat(8)}-0000-7000-8000-000000000000`;
    const cells = await asSuperuser(async (client) => {
      await client.query("set session_replication_role = replica");
      for (const [instance, gone] of [
        [id(1), null],
        [id(2), null],
        [id(3), "now"],
      ]) {
        await client.query(
          `insert into instance (vendor_id, tenant_id, id, name, cell_id, cell_tenant_id, product_id,
                                 release_id, plan_id, plan_version, gone_at)
           values ($1, $2, $3::uuid, $3::uuid::text, $4, $2, $1, $1, $1, 1, $5)`,
          [id(9), NIL_UUID, instance, id(8), gone],
        );
      }
      for (const reserved of [true, false]) {
        await client.query(
          `insert into seat (vendor_id, tenant_id, id, cell_id, instance_id, instance_tenant_id, name, reserved)
           values ($1, $2, gen_random_uuid(), $3, $4, $5, $6, $7)`,
          [id(9), reserved ? NIL_UUID : id(7), id(8), id(1), NIL_UUID, `${reserved}`, reserved],
        );
      }
      await client.query(
        "insert into cell (vendor_id, tenant_id, id, name, kind) values ($1, $2, $3, 'c', 2)",
        [id(9), NIL_UUID, id(8)],
      );
      await client.query("set session_replication_role = origin");
      await migrate(owner, migrations);
      return client.query(
        `select l.instances, (select seats from instance where id = $1) as seats from cell_load l`,
        [id(1)],
      );
    }, name);
    expect(cells.rows).toEqual([{ instances: 2, seats: 1 }]);
  });

  it("lets several starters run at once: each file is applied by one of them", async () => {
    const applied = await Promise.all(Array.from({ length: 4 }, () => migrate(owner, migrations)));
    expect(applied.flat().toSorted()).toEqual(migrations.map((each) => each.name).toSorted());
  });

  it("that is killed half way leaves whole files only, and the next run goes on", async () => {
    const third = migrations[2];
    if (third === undefined) throw new Error("there are migrations");
    const slow = { ...third, sql: `${third.sql}; select pg_sleep(60)` };
    const running = migrate(owner, [...migrations.slice(0, 2), slow]).catch(
      (error: Error) => error,
    );
    await asSuperuser(async (client) => {
      for (;;) {
        const { rows } = await client.query(
          `select pg_terminate_backend(pid) from pg_stat_activity
            where datname = $1 and wait_event = 'PgSleep'`,
          [name],
        );
        if (rows.length > 0) return;
        await systemClock.sleep(10);
      }
    });
    expect(await running).toMatchObject({ reason: "MIGRATION_FAILED" });
    expect(await versions()).toEqual([1, 2]);
    expect(await migrate(owner, migrations)).toEqual(migrations.slice(2).map((each) => each.name));
    expect(await problemsOf()).toEqual([]);
  });

  it("refuses a schema that is newer than the program", async () => {
    await migrate(owner, migrations);
    const older = migrations.slice(0, -1);
    await expect(migrate(owner, older)).rejects.toMatchObject({ reason: "SCHEMA_NEWER" });
  });

  it("refuses a file that is not the one that was applied", async () => {
    await migrate(owner, migrations);
    const [first, ...rest] = migrations;
    if (first === undefined) throw new Error("there are migrations");
    const changed = [{ ...first, digest: `sha256:${"1".repeat(64)}` }, ...rest];
    await expect(migrate(owner, changed)).rejects.toMatchObject({ reason: "MIGRATION_CHANGED" });
  });
});

describe("serveProblems", () => {
  it("are none for the app role on the present schema", async () => {
    await migrate(owner, migrations);
    expect(await problemsOf()).toEqual([]);
  });

  it("send whoever did not migrate yet there", async () => {
    const next = "holdfast-hub migrate";
    await expect(problemsOf()).rejects.toMatchObject({ reason: "SCHEMA_MISSING", next });
    await migrate(owner, migrations);
    await expect(problemsOf("nobody")).rejects.toMatchObject({ reason: "DATABASE_LOGIN", next });
  });

  it("name an older and a newer schema", async () => {
    await migrate(owner, migrations.slice(0, -1));
    expect(await problemsOf()).toEqual(["SCHEMA_OLD"]);
    await migrate(owner, migrations);
    migrations = migrations.slice(0, -1);
    expect(await problemsOf()).toEqual(["SCHEMA_NEWER"]);
  });

  it("name a login that the wall would not hold", async () => {
    await migrate(owner, migrations);
    expect(await problemsOf("postgres")).toContain("APP_ROLE_UNSAFE");
    await asSuperuser((client) =>
      client.query("create role sneaky login bypassrls in role holdfast_app"),
    );
    expect(await problemsOf("sneaky")).toContain("APP_ROLE_UNSAFE");
    await asSuperuser((client) =>
      client.query("create role heir login in role holdfast_app, holdfast_owner"),
    );
    expect(await problemsOf("heir")).toContain("APP_ROLE_UNSAFE");
  });

  it("name a server that is too old", () => {
    const facts = { server: 140_011, server_text: "14.11", role: "holdfast_app", unsafe: "" };
    const fits = { ...facts, now: 1, hubNow: 1, schema: 14, known: 14 };
    const [problem, ...others] = judgeServing(fits);
    expect(problem).toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "SERVER_TOO_OLD",
      message: "PostgreSQL 14.11; 15 or newer is needed",
    });
    expect(others).toEqual([]);
    expect(judgeServing({ ...fits, server: 150_000 })).toEqual([]);
  });

  it("name clocks that differ", async () => {
    await migrate(owner, migrations);
    expect(await problemsOf("holdfast_app", 60_000)).toEqual(["CLOCK_SKEW"]);
  });
});

describe("incarnation", () => {
  it("stays over starts and grows when the database is another one", async () => {
    const { database } = store();
    const first = await enterIncarnation(database);
    expect(await enterIncarnation(database)).toBe(first);
    await asSuperuser((client) =>
      client.query("update wall.hub_state set timeline = timeline + 1"),
    );
    expect(await enterIncarnation(database)).toBe(first + 1n);
    await asSuperuser((client) =>
      client.query("update wall.hub_state set system_identifier = 'other'"),
    );
    expect(await enterIncarnation(database)).toBe(first + 2n);
  });
});
