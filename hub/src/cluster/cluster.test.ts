/** The private cluster with real processes: it outlives its hub, comes back when it dies, and is one hub's alone. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execPath, getuid, kill, pid as ownPid } from "node:process";
import { systemClock } from "@holdfast/shared/clock.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { withClient } from "../store/database.ts";
import { clusterDeps, copyPrepared } from "../store/testing.ts";
import { hydrateLinks } from "./binaries.ts";
import { type Cluster, startCluster } from "./cluster.ts";
import { lockDataDir } from "./data-lock.ts";
import { findLauncher } from "./launch.ts";
import { isAlive, isTaken, startOf } from "./processes.ts";

const DEADLINE_MS = 60_000;
let dataDir: string;
const clusters: Cluster[] = [];

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "hf-"));
});
afterEach(async () => {
  for (const cluster of clusters.splice(0)) await cluster.stop();
  await rm(dataDir, { recursive: true, force: true });
});

/** From the cached directory: making a cluster takes a second. */
async function startMade(): Promise<Cluster> {
  await copyPrepared(dataDir);
  return start();
}

async function start(dir = dataDir): Promise<Cluster> {
  const cluster = await startCluster(clusterDeps(dir));
  clusters.push(cluster);
  return cluster;
}

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS;
  while (!(await isSo().catch(() => false))) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${DEADLINE_MS} ms`);
    await systemClock.sleep(20);
  }
}

const answers = (cluster: Cluster) =>
  withClient(cluster.owner, "test", async (client) => {
    const { rows } = await client.query<{ n: number }>("select count(*)::int as n from kept");
    return rows[0]?.n === 1;
  });
const keepARow = (cluster: Cluster) =>
  withClient(cluster.owner, "test", (client) => client.query("create table kept as select 1 as n"));

/** A process of its own that starts the cluster and then sits there. */
async function startElsewhere(): Promise<ChildProcess> {
  const script = join(dataDir, "start.mts");
  const here = import.meta.dirname;
  await writeFile(
    script,
    `import { startCluster } from ${JSON.stringify(join(here, "cluster.ts"))};
     import { tmpdir } from "node:os";
     const log = { debug() {}, info() {}, warn() {}, error() {}, child: () => log };
     const clock = { now: Date.now, monotonic: () => performance.now(),
       sleep: (ms) => new Promise((done) => setTimeout(done, ms)) };
     const deps = JSON.parse(process.argv[2]);
     await startCluster({ ...deps, pid: process.pid, kill: process.kill.bind(process), clock, random: Math.random, log });
     console.log("up");
     setInterval(() => {}, 1000);`,
  );
  const { clock: _clock, random: _random, log: _log, kill: _kill, ...deps } = clusterDeps(dataDir);
  const child = spawn(execPath, [script, JSON.stringify(deps)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await new Promise<void>((resolve, reject) => {
    child.stdout?.once("data", () => resolve());
    child.once("exit", () => reject(new Error("the other process ended")));
  });
  return child;
}

describe("the cluster", () => {
  it("starts, listens on a private socket only, and stops without a trace", async () => {
    const cluster = await start();
    await keepARow(cluster);
    const socketDir = "socketDir" in cluster.owner ? cluster.owner.socketDir : "";
    expect((await stat(socketDir)).mode & 0o777).toBe(0o700);
    const [tcp] = await withClient(cluster.owner, "test", async (client) => {
      const { rows } = await client.query<{ listen_addresses: string }>("show listen_addresses");
      return rows;
    });
    expect(tcp?.listen_addresses).toBe("");
    const pid = cluster.pid();
    await cluster.stop();
    expect(await isAlive(pid)).toBe(false);
    expect(await readdir(join(dataDir, "pgdata"))).not.toContain("postmaster.pid");
    expect(await answers(await start())).toBe(true);
  });

  it("works under a data directory with a long name", async () => {
    const long = join(dataDir, "x".repeat(120));
    await mkdir(long);
    const cluster = await start(long);
    await keepARow(cluster);
    expect(await answers(cluster)).toBe(true);
  });

  it("works for whoever runs it, root too, with files that stay theirs", async () => {
    await startMade();
    const { uid = getuid?.() } = await findLauncher(getuid?.() ?? 0);
    expect((await stat(join(dataDir, "pgdata", "PG_VERSION"))).uid).toBe(uid);
  });

  it("outlives the kill -9 of its hub and is adopted by the next one", async () => {
    await copyPrepared(dataDir);
    const hub = await startElsewhere();
    const pid = Number(
      (await readFile(join(dataDir, "pgdata", "postmaster.pid"), "utf8")).split("\n")[0],
    );
    hub.kill("SIGKILL");
    await until("the hub ends", async () => !(await isAlive(hub.pid ?? 0)));
    expect(await isAlive(pid)).toBe(true);
    const cluster = await start();
    expect(cluster.pid()).toBe(pid);
    await cluster.stop();
    expect(await isAlive(pid)).toBe(false);
  });

  it("is one hub's alone, but commands beside it may use it and leave it running", async () => {
    await copyPrepared(dataDir);
    const hub = await startElsewhere();
    const { pid } = hub;
    await expect(startCluster(clusterDeps(dataDir))).rejects.toMatchObject({
      reason: "DATA_DIR_LOCKED",
      metadata: { pid: String(pid) },
    });
    const command = await startCluster({ ...clusterDeps(dataDir), mayShare: true });
    expect(command.isShared).toBe(true);
    await keepARow(command);
    await command.stop();
    expect(await isAlive(command.pid())).toBe(true);
    hub.kill("SIGKILL");
    await until("the hub ends", async () => !(await isAlive(pid ?? 0)));
    const next = await start();
    expect(next.pid()).toBe(command.pid());
    expect(await answers(next)).toBe(true);
  });

  it("is in a session of its own, so that a terminal's Ctrl-C does not reach it", async () => {
    const cluster = await startMade();
    const text = await readFile(`/proc/${cluster.pid()}/stat`, "utf8");
    const session = Number(text.slice(text.lastIndexOf(")") + 2).split(" ")[3]);
    expect(session).toBe(cluster.pid());
  });

  it("is started again after the kill -9 of its server, with what was committed", async () => {
    const cluster = await startMade();
    await keepARow(cluster);
    for (let n = 0; n < 2; n++) {
      const pid = cluster.pid();
      kill(pid, "SIGKILL");
      await until(
        "another server is up",
        async () => cluster.pid() !== pid && (await answers(cluster)),
      );
    }
  });

  it("starts although the old server's number is still held by its zombie", async () => {
    const first = await startMade();
    await keepARow(first);
    const paths = [
      join(dataDir, "pgdata", "postmaster.pid"),
      join(dataDir, "run", ".s.PGSQL.5432.lock"),
    ];
    const old = await Promise.all(paths.map((path) => readFile(path, "utf8")));
    await first.stop();
    // The one that is execed before its child ends has never heard of it, so nobody reaps it.
    const careless = spawn("sh", ["-c", "sleep 1 & echo $!; exec sleep 60"], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    try {
      const said = await new Promise<Buffer>((resolve) => careless.stdout.once("data", resolve));
      const zombie = Number(said.toString());
      await until("a zombie", async () => (await isTaken(zombie)) && !(await isAlive(zombie)));
      for (const [index, path] of paths.entries()) {
        await writeFile(path, old[index]?.replace(/^\d+/, String(zombie)) ?? "");
      }
      expect(await answers(await start())).toBe(true);
    } finally {
      careless.kill("SIGKILL");
    }
  });

  it("starts although an old pid file names a process that is another program now", async () => {
    const first = await startMade();
    await keepARow(first);
    const path = join(dataDir, "pgdata", "postmaster.pid");
    const old = await readFile(path, "utf8");
    await first.stop();
    await writeFile(path, old.replace(/^\d+/, String(ownPid)));
    expect(await answers(await start())).toBe(true);
  });

  it("makes the cluster anew when the making was killed half way", async () => {
    await mkdir(join(dataDir, "pgdata.new", "base"), { recursive: true });
    await writeFile(join(dataDir, "pgdata.new", "PG_VERSION"), "18");
    const cluster = await start();
    await keepARow(cluster);
    expect(await answers(cluster)).toBe(true);
  });
});

describe("the lock of a data directory", () => {
  it("refuses a second hub by the pid of the first, and takes over from a dead one", async () => {
    const lock = await lockDataDir(dataDir, ownPid);
    await expect(lockDataDir(dataDir, ownPid)).rejects.toMatchObject({
      reason: "DATA_DIR_LOCKED",
      metadata: { pid: String(ownPid) },
    });
    await lock.release();
    await writeFile(join(dataDir, "hub.lock"), `${ownPid} 1\n`);
    const again = await lockDataDir(dataDir, ownPid);
    expect(await readFile(join(dataDir, "hub.lock"), "utf8")).toBe(
      `${ownPid} ${await startOf(ownPid)}\n`,
    );
    await again.release();
    expect(await readdir(dataDir)).toEqual([]);
  });
});

describe("the links of the packaged libraries", () => {
  it("are made once, and again without harm", async () => {
    await mkdir(join(dataDir, "native", "lib"), { recursive: true });
    await writeFile(join(dataDir, "native", "lib", "a.so.1.2"), "library");
    const links = [{ source: "native/lib/a.so.1.2", target: "native/lib/a.so" }];
    await writeFile(join(dataDir, "native", "pg-symlinks.json"), JSON.stringify(links));
    await Promise.all([hydrateLinks(dataDir), hydrateLinks(dataDir)]);
    await hydrateLinks(dataDir);
    expect(await readFile(join(dataDir, "native", "lib", "a.so"), "utf8")).toBe("library");
  });
});
