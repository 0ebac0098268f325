/**
 * The hub's database, ready to be used: the private cluster under the data directory, or the one that
 * database_url names. The private one is migrated here; an operator's own is only checked.
 */
import type { Clock, Random } from "@holdfast/shared/clock.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import type { Log } from "@holdfast/shared/log.ts";
import type { Platform } from "./cluster/binaries.ts";
import { type Cluster, startCluster } from "./cluster/cluster.ts";
import { lockDataDir } from "./cluster/data-lock.ts";
import type { Kill } from "./cluster/processes.ts";
import type { HubConfig } from "./config.ts";
import { type Connection, type Database, openDatabase } from "./store/database.ts";
import { migrate, readMigrations, serveProblems } from "./store/migrate.ts";

export type DatabaseHost = Readonly<{
  clock: Clock;
  random: Random;
  log: Log;
  uid: number;
  pid: number;
  kill: Kill;
  tempDir: string;
  platform: Platform;
}>;

export type OpenedDatabase = Readonly<{
  database: Database;
  /** Ends connections and the private cluster. */
  close(): Promise<void>;
}>;

/**
 * `mayShare`: for a command beside a hub that serves from the same data directory. Throws
 * FAILED_PRECONDITION with all reasons not to serve from it, UNAVAILABLE if it is not there.
 */
export async function openHubDatabase(
  config: HubConfig,
  host: DatabaseHost,
  mayShare: boolean,
): Promise<OpenedDatabase> {
  const migrations = await readMigrations();
  const cluster = await privateCluster(config, host, mayShare);
  const lock =
    cluster === undefined && !mayShare ? await lockDataDir(config.dataDir, host.pid) : undefined;
  try {
    if (cluster !== undefined && !cluster.isShared) {
      const applied = await migrate(cluster.owner, migrations);
      if (applied.length > 0) host.log.info({ applied }, "migrated the private database");
    }
    const { app, key } = cluster ?? connectionsOf(config);
    const database = await openDatabase({
      ...host,
      app,
      key,
      listen: listenConnection(config),
      prepares: cluster !== undefined || config.databasePrepares,
    });
    const close = async () => {
      await database.close();
      await cluster?.stop();
      await lock?.release();
    };
    const problems = await serveProblems(database, migrations).catch(async (error: unknown) => {
      await database.close();
      throw error;
    });
    if (problems.length > 0) {
      await database.close();
      throw refusalOf(problems);
    }
    return { database, close };
  } catch (error) {
    await cluster?.stop();
    await lock?.release();
    throw error;
  }
}

export async function privateCluster(
  { databaseUrl, dataDir }: HubConfig,
  host: DatabaseHost,
  mayShare: boolean,
): Promise<Cluster | undefined> {
  return databaseUrl === undefined ? startCluster({ ...host, dataDir, mayShare }) : undefined;
}

/** Throws INVALID_ARGUMENT `CONFIG_INVALID`. */
function connectionsOf({ databaseUrl, keyDatabaseUrl }: HubConfig): {
  app: Connection;
  key: Connection;
} {
  if (databaseUrl !== undefined && keyDatabaseUrl !== undefined) {
    return { app: { url: databaseUrl }, key: { url: keyDatabaseUrl } };
  }
  throw new Fault(
    "INVALID_ARGUMENT",
    "CONFIG_INVALID",
    "key_database_url: required beside database_url; it logs in as holdfast_key",
  );
}

/** A private cluster serves one hub process alone. */
export function listenConnection({
  databaseUrl,
  listenDatabaseUrl,
}: HubConfig): Connection | undefined {
  const url = listenDatabaseUrl ?? databaseUrl;
  return databaseUrl === undefined || url === undefined ? undefined : { url };
}

function refusalOf(problems: readonly Fault[]): Fault {
  const [first] = problems;
  const violations = problems.map(({ reason, message }) => ({ path: reason, message }));
  const next = first?.next;
  return new Fault(
    "FAILED_PRECONDITION",
    first?.reason ?? "DATABASE_UNFIT",
    violations.map(({ message }) => message).join("; "),
    { violations, ...(next === undefined ? {} : { next }) },
  );
}
