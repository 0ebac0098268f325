/**
 * One PostgreSQL server on one data directory: initialise, start or adopt, stop. It listens on a Unix socket
 * in a private directory only, and lives in a session of its own, so that a terminal's Ctrl-C and the hub's
 * death leave it alone.
 */
import { createHash } from "node:crypto";
import { chmod, mkdir, open, readFile, realpath, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "@holdfast/shared/clock.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import type { Launcher } from "./launch.ts";
import { isTaken, type Kill, sendSignal, startOf, workingIn } from "./processes.ts";

/** The port only names the socket; nothing listens on TCP. */
export const SOCKET_PORT = 5432;
/** Of sockaddr_un, less the name of the socket itself. */
const SOCKET_DIR_BYTES_MAX = 80;
const START_MS_MAX = 60_000;
const STOP_MS_MAX = 15_000;
const POLL_MS = 20;
const LOG_TAIL_BYTES = 2_000;

export type Site = Readonly<{
  dataDir: string;
  binDir: string;
  /** For socket directories of data directories with long names; of the machine, such as /tmp. */
  tempDir: string;
  uid: number;
  launcher: Launcher;
  clock: Clock;
  kill: Kill;
  /** Further settings, `name=value`. */
  settings?: readonly string[];
}>;

export type Postmaster = Readonly<{ pid: number; socketDir: string; isAdopted: boolean }>;

export function pgdataOf({ dataDir }: Pick<Site, "dataDir">): string {
  return join(dataDir, "pgdata");
}

/** Makes the cluster unless it is there. A kill half way leaves a directory that the next start removes. */
export async function initialise(site: Site): Promise<void> {
  const pgdata = pgdataOf(site);
  if (await stat(join(pgdata, "PG_VERSION")).catch(() => undefined)) return;
  const fresh = `${pgdata}.new`;
  await rm(fresh, { recursive: true, force: true });
  await mkdir(fresh, { mode: 0o700, recursive: true });
  await site.launcher.adopt(fresh);
  const args = ["-D", fresh, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale"];
  const child = site.launcher.spawn(join(site.binDir, "initdb"), args, {
    cwd: "/",
    stdio: ["ignore", "pipe", "pipe"],
  });
  const said: string[] = [];
  child.stderr?.on("data", (chunk: Buffer) => said.push(chunk.toString()));
  child.stdout?.resume();
  const code = await new Promise<number | null>((resolve) => {
    child.once("error", () => resolve(null));
    child.once("close", resolve);
  });
  if (code !== 0) {
    throw new Fault("INTERNAL", "INITDB_FAILED", `initdb failed in ${fresh}`, {
      cause: new Error(said.join("").slice(-LOG_TAIL_BYTES)),
    });
  }
  await rename(fresh, pgdata);
}

/** A running server: the one of an earlier life of the hub if there is one, else a new one. */
export async function startOrAdopt(site: Site): Promise<Postmaster> {
  const running = await find(site);
  if (running !== undefined) return running;
  await clearStale(site);
  return start(site);
}

type PidFile = Readonly<{ pid: number; socketDir: string; isReady: boolean }>;

async function readPidFile(site: Site): Promise<PidFile | undefined> {
  const text = await readFile(join(pgdataOf(site), "postmaster.pid"), "utf8").catch(() => "");
  const lines = text.split("\n");
  const pid = Number(lines[0]);
  if (!Number.isInteger(pid) || pid <= 0) return undefined;
  return { pid, socketDir: lines[4] ?? "", isReady: (lines[7] ?? "").trim() === "ready" };
}

/** The server that runs on this data directory, once it is ready; undefined: none. */
export async function find(site: Site): Promise<Postmaster | undefined> {
  const deadline = site.clock.monotonic() + START_MS_MAX;
  for (;;) {
    const file = await readPidFile(site);
    const isOurs = file !== undefined && (await isServerOf(site, file.pid));
    if (file === undefined || !isOurs) return undefined;
    if (file.isReady) return { pid: file.pid, socketDir: file.socketDir, isAdopted: true };
    if (site.clock.monotonic() > deadline)
      throw notReady(site, "an earlier server does not become ready");
    await site.clock.sleep(POLL_MS);
  }
}

async function isServerOf(site: Site, pid: number): Promise<boolean> {
  return (await workingIn(await realpath(pgdataOf(site)))).includes(pid);
}

/**
 * A pid file, of the data or of the socket, whose pid is taken, by another program or by the old server's zombie that nobody reaps, would
 * keep PostgreSQL from starting. They may be removed only when no process of the old server is left, since
 * they also guard the shared memory.
 */
async function clearStale(site: Site): Promise<void> {
  const file = await readPidFile(site);
  if (file === undefined) return;
  const pgdata = await realpath(pgdataOf(site));
  const deadline = site.clock.monotonic() + STOP_MS_MAX;
  while ((await workingIn(pgdata)).length > 0) {
    if (site.clock.monotonic() > deadline)
      throw notReady(site, "processes of an earlier server linger");
    await site.clock.sleep(POLL_MS);
  }
  if (!(await isTaken(file.pid))) return;
  await rm(join(pgdata, "postmaster.pid"), { force: true });
  // The socket's directory is this data directory's alone.
  if (file.socketDir !== "") {
    await rm(join(file.socketDir, `.s.PGSQL.${SOCKET_PORT}.lock`), { force: true });
  }
}

async function start(site: Site): Promise<Postmaster> {
  const socketDir = await makeSocketDir(site);
  const logFile = await open(join(site.dataDir, "postgres.log"), "a", 0o600);
  try {
    const settings = [
      "listen_addresses=",
      `unix_socket_directories=${socketDir}`,
      "unix_socket_permissions=0700",
      `port=${SOCKET_PORT}`,
      "max_connections=64",
      "logging_collector=off",
      "log_min_messages=warning",
      ...(site.settings ?? []),
    ];
    await site.launcher.adopt(pgdataOf(site)); // Made, perhaps, when namespaces were still allowed.
    const args = ["-D", pgdataOf(site), ...settings.flatMap((each) => ["-c", each])];
    const child = site.launcher.spawn(join(site.binDir, "postgres"), args, {
      cwd: "/",
      detached: true,
      stdio: ["ignore", logFile.fd, logFile.fd],
    });
    let hasEnded = false;
    child.once("exit", () => {
      hasEnded = true;
    });
    child.once("error", () => {
      hasEnded = true;
    });
    child.unref();
    const deadline = site.clock.monotonic() + START_MS_MAX;
    for (;;) {
      const file = await readPidFile(site);
      if (file?.pid === child.pid && file?.isReady) {
        return { pid: file.pid, socketDir, isAdopted: false };
      }
      if (hasEnded) throw notReady(site, "the server ended while it started");
      if (site.clock.monotonic() > deadline)
        throw notReady(site, "the server does not become ready");
      await site.clock.sleep(POLL_MS);
    }
  } finally {
    await logFile.close();
  }
}

function notReady({ dataDir }: Site, what: string): Fault {
  return new Fault("UNAVAILABLE", "POSTGRES_NOT_READY", `PostgreSQL in ${dataDir}: ${what}`, {
    next: `tail ${join(dataDir, "postgres.log")}`,
  });
}

/** In the data directory if its name is short enough for a socket, else in the temporary directory. */
async function makeSocketDir(site: Site): Promise<string> {
  const near = join(site.dataDir, "run");
  const name = createHash("sha256")
    .update(await realpath(site.dataDir))
    .digest("hex")
    .slice(0, 16);
  const far = join(site.tempDir, `holdfast-${site.uid}-${name}`);
  const dir = Buffer.byteLength(near) <= SOCKET_DIR_BYTES_MAX ? near : far;
  await mkdir(dir, { mode: 0o700, recursive: true });
  const found = await stat(dir);
  await site.launcher.adopt(dir);
  if (![site.uid, site.launcher.uid].includes(found.uid) && dir === far) {
    throw new Fault("FAILED_PRECONDITION", "SOCKET_DIR_FOREIGN", `${dir} belongs to another user`, {
      next: `remove ${dir}`,
    });
  }
  await chmod(dir, 0o700);
  return dir;
}

/** Fast shutdown: sessions end, everything committed is safe. After a deadline immediate shutdown. */
export async function stop(
  { clock, kill }: Pick<Site, "clock" | "kill">,
  { pid }: Postmaster,
): Promise<void> {
  const start = await startOf(pid);
  if (start === undefined) return;
  for (const name of ["SIGINT", "SIGQUIT", "SIGKILL"] as const) {
    sendSignal(kill, pid, name);
    const deadline = clock.monotonic() + STOP_MS_MAX;
    while (clock.monotonic() < deadline) {
      if ((await startOf(pid)) !== start) return;
      await clock.sleep(POLL_MS);
    }
  }
}
