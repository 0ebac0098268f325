/**
 * The private cluster of a hub without a database_url: started or adopted, watched and started again when it
 * dies, stopped with the hub. Its logins are trusted on a socket that only the hub's own user can reach.
 */
import { mkdir } from "node:fs/promises";
import { type BackoffBounds, fullJitter } from "@holdfast/shared/backoff.ts";
import type { Clock, Random } from "@holdfast/shared/clock.ts";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { type Connection, withClient } from "../store/database.ts";
import { APP_ROLE, KEY_ROLE } from "../store/roles.ts";
import { findBinaries, type Platform } from "./binaries.ts";
import { type DataLock, lockDataDir } from "./data-lock.ts";
import { findLauncher } from "./launch.ts";
import {
  find,
  initialise,
  type Postmaster,
  type Site,
  SOCKET_PORT,
  startOrAdopt,
  stop,
} from "./postmaster.ts";
import { type Kill, startOf } from "./processes.ts";

const WATCH_MS = 250;
const RESTART_BOUNDS: BackoffBounds = { baseMs: 200, capMs: 10_000 };
/** A server that lived this long has recovered: the next failure counts as the first. */
const HEALTHY_MS = 60_000;
const DATABASE = "holdfast";

export type ClusterDeps = Readonly<{
  dataDir: string;
  tempDir: string;
  uid: number;
  /** Of this process; names it in the lock of the data directory. */
  pid: number;
  kill: Kill;
  platform: Platform;
  /** Directory with initdb and postgres; absent: the packaged ones. */
  binDir?: string;
  clock: Clock;
  random: Random;
  log: Log;
  settings?: readonly string[];
  /** For commands beside a hub that serves: use its server and leave it running. */
  mayShare?: boolean;
}>;

export interface Cluster {
  readonly app: Connection;
  readonly key: Connection;
  /** May set the role holdfast_owner; for migrations only. */
  readonly owner: Connection;
  /** Another process, the hub that serves, looks after it. */
  readonly isShared: boolean;
  /** Pid of the server that runs now. */
  pid(): number;
  /** Ends watching and stops the server; a shared one goes on. */
  stop(): Promise<void>;
}

/**
 * Throws FAILED_PRECONDITION `DATA_DIR_LOCKED` (another hub serves from it), `POSTGRES_MISSING` or
 * `POSTGRES_AS_ROOT`, UNAVAILABLE `POSTGRES_NOT_READY`.
 */
export async function startCluster(deps: ClusterDeps): Promise<Cluster> {
  await mkdir(deps.dataDir, { mode: 0o700, recursive: true });
  const site: Site = {
    ...deps,
    binDir: await findBinaries(deps.platform, deps.binDir),
    launcher: await findLauncher(deps.uid),
  };
  const lock = await lockDataDir(deps.dataDir, deps.pid).catch((error: unknown) => {
    if (deps.mayShare && error instanceof Fault) return undefined;
    throw error;
  });
  if (lock === undefined) return shared(site);
  try {
    return await own(site, deps, lock);
  } catch (error) {
    await lock.release();
    throw error;
  }
}

async function own(site: Site, deps: ClusterDeps, lock: DataLock): Promise<Cluster> {
  await initialise(site);
  const first = await startOrAdopt(site);
  const logins = loginsOf(first);
  await createDatabase(logins.maintenance);
  deps.log.info({ pid: first.pid, adopted: first.isAdopted }, "database is up");
  const watch = new Watch(site, deps, first);
  return {
    ...logins,
    isShared: false,
    pid: () => watch.postmaster.pid,
    async stop() {
      await watch.stop();
      await lock.release();
    },
  };
}

async function shared(site: Site): Promise<Cluster> {
  const running = await find(site);
  if (running === undefined) {
    const what = `the hub that serves from ${site.dataDir} has no database running now`;
    throw new Fault("UNAVAILABLE", "POSTGRES_NOT_READY", what, { next: "try again" });
  }
  const { pid } = running;
  return { ...loginsOf(running), isShared: true, pid: () => pid, stop: async () => undefined };
}

function loginsOf({ socketDir }: Postmaster) {
  const as = (user: string, database = DATABASE): Connection => ({
    socketDir,
    port: SOCKET_PORT,
    user,
    database,
  });
  return {
    app: as(APP_ROLE),
    key: as(KEY_ROLE),
    owner: as("postgres"),
    maintenance: as("postgres", "postgres"),
  };
}

async function createDatabase(connection: Connection): Promise<void> {
  await withClient(connection, "holdfast-cluster", async (client) => {
    const { rows } = await client.query("select from pg_database where datname = $1", [DATABASE]);
    if (rows.length === 0) await client.query(`create database ${DATABASE}`);
  });
}

/** Looks whether the server lives, by pid and start time, and starts it again if not. */
class Watch {
  postmaster: Postmaster;
  readonly #site: Site;
  readonly #deps: ClusterDeps;
  readonly #ending = new AbortController();
  readonly #ended: Promise<void>;

  constructor(site: Site, deps: ClusterDeps, first: Postmaster) {
    this.#site = site;
    this.#deps = deps;
    this.postmaster = first;
    this.#ended = this.#run();
  }

  async stop(): Promise<void> {
    this.#ending.abort();
    await this.#ended;
    await stop(this.#site, this.postmaster);
  }

  async #run(): Promise<void> {
    const { clock, random, log } = this.#deps;
    const { signal } = this.#ending;
    let failures = 0;
    while (!signal.aborted) {
      const since = clock.monotonic();
      await this.#untilDead(signal);
      if (signal.aborted) return;
      if (clock.monotonic() - since > HEALTHY_MS) failures = 0;
      const waitMs = fullJitter(RESTART_BOUNDS, failures++, random);
      log.error({ pid: this.postmaster.pid, waitMs }, "database died; it is started again");
      await clock.sleep(waitMs, signal);
      if (signal.aborted) return;
      try {
        this.postmaster = await startOrAdopt(this.#site);
        log.info({ pid: this.postmaster.pid }, "database is up again");
      } catch (error) {
        log.error({ error: causeChain(error) }, "database does not start");
      }
    }
  }

  async #untilDead(signal: AbortSignal): Promise<void> {
    const { pid } = this.postmaster;
    const start = await startOf(pid);
    while (!signal.aborted) {
      if (start === undefined || (await startOf(pid)) !== start) return;
      await this.#deps.clock.sleep(WATCH_MS, signal);
    }
  }
}
