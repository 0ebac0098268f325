/**
 * The private cluster of a hub without a database_url: started or adopted, watched and started again when it
 * dies, stopped with the hub. Its logins are trusted on a socket that only the hub's own user can reach.
 */
import { mkdir } from "node:fs/promises";
import { type BackoffBounds, fullJitter } from "@holdfast/shared/backoff.ts";
import type { Clock, Random } from "@holdfast/shared/clock.ts";
import { causeChain } from "@holdfast/shared/fault.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { type Connection, withClient } from "../store/database.ts";
import { APP_ROLE, KEY_ROLE } from "../store/roles.ts";
import { findBinaries, type Platform } from "./binaries.ts";
import { findLauncher } from "./launch.ts";
import {
  initialise,
  type Postmaster,
  type Site,
  SOCKET_PORT,
  startOrAdopt,
  stop,
} from "./postmaster.ts";
import { startOf } from "./processes.ts";

const WATCH_MS = 250;
const RESTART_BOUNDS: BackoffBounds = { baseMs: 200, capMs: 10_000 };
/** A server that lived this long has recovered: the next failure counts as the first. */
const HEALTHY_MS = 60_000;
const DATABASE = "holdfast";

export type ClusterDeps = Readonly<{
  dataDir: string;
  tempDir: string;
  uid: number;
  platform: Platform;
  /** Directory with initdb and postgres; absent: the packaged ones. */
  binDir?: string;
  clock: Clock;
  random: Random;
  log: Log;
  settings?: readonly string[];
}>;

export interface Cluster {
  readonly app: Connection;
  readonly key: Connection;
  /** May set the role holdfast_owner; for migrations only. */
  readonly owner: Connection;
  /** Pid of the server that runs now. */
  pid(): number;
  /** Ends watching and stops the server. */
  stop(): Promise<void>;
}

/** Throws FAILED_PRECONDITION `POSTGRES_MISSING` or `POSTGRES_AS_ROOT`, UNAVAILABLE `POSTGRES_NOT_READY`. */
export async function startCluster(deps: ClusterDeps): Promise<Cluster> {
  await mkdir(deps.dataDir, { mode: 0o700, recursive: true });
  const site: Site = {
    ...deps,
    binDir: await findBinaries(deps.platform, deps.binDir),
    launcher: await findLauncher(deps.uid),
  };
  await initialise(site);
  const first = await startOrAdopt(site);
  const as = (user: string, database = DATABASE): Connection => ({
    socketDir: first.socketDir,
    port: SOCKET_PORT,
    user,
    database,
  });
  await createDatabase(as("postgres", "postgres"));
  deps.log.info({ pid: first.pid, adopted: first.isAdopted }, "database is up");
  const watch = new Watch(site, deps, first);
  return {
    app: as(APP_ROLE),
    key: as(KEY_ROLE),
    owner: as("postgres"),
    pid: () => watch.postmaster.pid,
    stop: () => watch.stop(),
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
