/**
 * Test support: a real PostgreSQL for each test file, from a cached data directory that has the migrations.
 * HOLDFAST_TEST_POSTGRES_BIN names another server's programs, such as /usr/lib/postgresql/15/bin.
 */
import { createHash } from "node:crypto";
import { chmodSync, cpSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, rename, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { arch, env, getuid, kill, pid, platform } from "node:process";
import { systemClock } from "@holdfast/shared/clock.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { afterAll, beforeAll } from "vitest";
import { type Cluster, type ClusterDeps, startCluster } from "../cluster/cluster.ts";
import { type Connection, type Database, openDatabase } from "./database.ts";
import { enterIncarnation } from "./hub-state.ts";
import { migrate, readMigrations } from "./migrate.ts";

const CACHE = join(import.meta.dirname, "..", "..", "node_modules", ".cache", "holdfast-postgres");
const CACHE_LIFE_MS = 86_400_000;
const START_MS_MAX = 60_000;

export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLog,
};

/** How a test's cluster is run: as the product does, but without waiting for the disk. */
export function clusterDeps(dataDir: string): ClusterDeps {
  const binDir = env["HOLDFAST_TEST_POSTGRES_BIN"];
  return {
    dataDir,
    tempDir: tmpdir(),
    uid: getuid?.() ?? 0,
    pid,
    kill: (other, signal) => void kill(other, signal),
    platform: { os: platform, cpu: arch },
    ...(binDir ? { binDir } : {}),
    clock: systemClock,
    random: Math.random,
    log: silentLog,
    settings: ["fsync=off", "full_page_writes=off", "shared_buffers=32MB"],
  };
}

export interface TestStore {
  readonly database: Database;
  readonly cluster: Cluster;
  readonly dataDir: string;
  /** Another login, or another database of this server. */
  connection(user: string, database?: string): Connection;
  close(): Promise<void>;
}

/** A server of its own with the schema and an incarnation. */
export async function startTestStore(): Promise<TestStore> {
  const dataDir = await mkdtemp(join(tmpdir(), "hf-"));
  await copyPrepared(dataDir);
  const cluster = await startCluster(clusterDeps(dataDir));
  const database = await openTestDatabase(cluster);
  await enterIncarnation(database);
  return {
    database,
    cluster,
    dataDir,
    connection: (user, name = "holdfast") => ({ ...cluster.owner, user, database: name }),
    async close() {
      await database.close();
      await cluster.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** Puts a cluster that has the schema, and is stopped, into a data directory. */
export async function copyPrepared(dataDir: string): Promise<void> {
  // Half of what the asynchronous one costs for its 1,500 files.
  const pgdata = join(dataDir, "pgdata");
  cpSync(join(await preparedCluster(), "pgdata"), pgdata, { recursive: true });
  // It gives folders the mode of new ones, and the server wants its own to be private.
  chmodSync(pgdata, 0o700);
}

export function openTestDatabase(at: Pick<Cluster, "app" | "key">): Promise<Database> {
  return openDatabase({
    app: at.app,
    key: at.key,
    listen: at.app,
    clock: systemClock,
    random: Math.random,
    log: silentLog,
    // The other server is used as one behind a pooler would be.
    prepares: env["HOLDFAST_TEST_POSTGRES_BIN"] === undefined,
  });
}

/** The file's own store; call the result inside of tests. */
export function useTestStore(): () => TestStore {
  let store: TestStore | undefined;
  beforeAll(async () => {
    store = await startTestStore();
  }, START_MS_MAX);
  afterAll(async () => store?.close(), START_MS_MAX);
  return () => {
    if (store === undefined) throw new Error("the store is not started yet");
    return store;
  };
}

/** A stopped data directory with these migrations; made once for each version of them and of PostgreSQL. */
async function preparedCluster(): Promise<string> {
  const migrations = await readMigrations();
  const key = createHash("sha256")
    .update(JSON.stringify([env["HOLDFAST_TEST_POSTGRES_BIN"], migrations]))
    .digest("hex")
    .slice(0, 16);
  const ready = join(CACHE, key);
  if (await stat(ready).catch(() => undefined)) return ready;
  await mkdir(CACHE, { recursive: true });
  await forgetOld();
  const fresh = await mkdtemp(join(tmpdir(), "hf-"));
  const cluster = await startCluster(clusterDeps(fresh));
  await migrate(cluster.owner, migrations);
  await cluster.stop();
  const staged = await mkdtemp(join(CACHE, "new-"));
  await cp(fresh, staged, {
    recursive: true,
    filter: (path) => !path.startsWith(join(fresh, "run")),
  });
  await rm(fresh, { recursive: true, force: true });
  // Of several files that made it at once the first one wins.
  await rename(staged, ready).catch(() => rm(staged, { recursive: true, force: true }));
  return ready;
}

async function forgetOld(): Promise<void> {
  for (const name of await readdir(CACHE)) {
    const path = join(CACHE, name);
    const made = await stat(path).catch(() => undefined);
    if (made !== undefined && Date.now() - made.mtimeMs > CACHE_LIFE_MS) {
      await rm(path, { recursive: true, force: true });
    }
  }
}
