/**
 * A real Docker Engine of a test's own: data, sockets and pid file in a temporary directory, in a network of its own, so
 * that nothing of the host's is touched. Needs root and Debian's docker.io and busybox-static (CONTRIBUTING.md).
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@holdfast/shared/clock.ts";
import type { Dial } from "../ask.ts";
import { Dock } from "../engine/dock.ts";
import { BUSYBOX } from "./images.test-world.ts";

const START_MS_MAX = 60_000;
const LOOK_MS = 50;
/** Of the daemon's child after its own end. */
const END_MS_MAX = 10_000;

/** Ends where its standard input does. Carries connections into the network that it is in. */
const RELAY = `
import { spawnSync } from "node:child_process";
import { connect, createServer } from "node:net";
spawnSync("${BUSYBOX}", ["ip", "link", "set", "lo", "up"]);
createServer((from) => {
  from.on("error", () => from.destroy());
  from.once("data", (line) => {
    const [host, port] = line.toString().trim().split(" ");
    const to = connect({ host, port: Number(port) }, () => { from.write("k"); from.pipe(to).pipe(from); });
    to.on("error", () => from.destroy());
    to.on("close", () => from.destroy());
    from.on("close", () => to.destroy());
  });
}).listen(process.argv[2], () => console.log("ready"));
process.stdin.on("end", () => process.exit(0)).resume();
`;

export type DockerWorld = Readonly<{
  dir: string;
  socket: string;
  /** Of nsenter, for what is to run beside the engine. */
  netns: string;
  /** Into the engine's network. */
  dial: Dial;
  dock: Dock;
  start(): Promise<void>;
  /** As systemd would. */
  stop(): Promise<void>;
  /** The daemon alone: containers live on. */
  kill(): Promise<void>;
  pause(): void;
  resume(): void;
  /** An image that stays, so that no start has to load it again. */
  preload(archive: string): Promise<void>;
  end(): Promise<void>;
}>;

/**
 * Why there can be no engine here; undefined if there can. Where CI runs it must be. `programs`: what the tests need
 * besides, such as a registry.
 */
export function whyNoDocker(...programs: readonly string[]): string | undefined {
  const missing = ["dockerd", ...programs].find(
    (program) => spawnSync(program, ["--version"]).error !== undefined,
  );
  const why =
    process.getuid?.() !== 0
      ? "skipped: a container engine of a test's own needs root"
      : missing !== undefined
        ? `skipped: no ${missing} on this machine (CONTRIBUTING.md)`
        : isStatic(BUSYBOX)
          ? undefined
          : "skipped: no static /bin/busybox (Debian's busybox-static) on this machine";
  if (why !== undefined && process.env["CI"] !== undefined) throw new Error(`CI ${why}`);
  return why;
}

function isStatic(file: string): boolean {
  return existsSync(file) && !readFileSync(file).includes("/lib64/ld-linux");
}

/** `diskMib`: its images, volumes and layers are on a disk of that size. */
export async function startDocker({ diskMib }: { diskMib?: number } = {}): Promise<DockerWorld> {
  const dir = mkdtempSync(join(tmpdir(), "docker-"));
  chmodSync(dir, 0o755);
  if (diskMib !== undefined) mountDisk(join(dir, "data"), diskMib);
  const socket = join(dir, "docker.sock");
  const relaySocket = join(dir, "relay.sock");
  writeFileSync(join(dir, "relay.mjs"), RELAY);
  writeFileSync(join(dir, "daemon.json"), "{}");
  const relay = spawn(
    "unshare",
    ["--net", "--", process.execPath, join(dir, "relay.mjs"), relaySocket],
    {
      stdio: ["pipe", "pipe", "inherit"],
    },
  );
  await new Promise((resolve, reject) => {
    relay.stdout.once("data", resolve);
    relay.once("exit", () => reject(new Error("the relay has ended")));
  });
  const dock = new Dock(socket);
  const place = { dir, socket, group: `/hft-${process.pid}-${dir.slice(-6)}` };
  let daemon: ChildProcess | undefined;
  const start = async () => {
    await forgetDead(join(dir, "exec/containerd/containerd.pid"));
    daemon = startDaemon(place, relay.pid ?? 0);
    await untilReady(dock, daemon, place.dir);
  };
  const stop = async (signal: NodeJS.Signals) => {
    const ended = daemon && new Promise((resolve) => daemon?.once("exit", resolve));
    if (daemon?.exitCode === null && daemon.signalCode === null) {
      daemon.kill("SIGCONT");
      daemon.kill(signal);
      await ended;
    }
    daemon = undefined;
  };
  await start();
  return {
    ...{ dir, socket, dock, start },
    netns: `--net=/proc/${relay.pid}/ns/net`,
    dial: relayed(relaySocket),
    stop: () => stop("SIGTERM"),
    kill: () => stop("SIGKILL"),
    pause: () => void daemon?.kill("SIGSTOP"),
    resume: () => void daemon?.kill("SIGCONT"),
    preload: (archive) => preload(dock, archive),
    end: async () => {
      if (daemon === undefined) await start();
      daemon?.kill("SIGCONT");
      await removeAll(dock);
      await stop("SIGTERM");
      relay.stdin.end();
      unmountBelow(dir);
      rmSync(dir, { recursive: true, force: true });
      removeGroups(place.group);
    },
  };
}

/** A disk of its own, in memory. */
export function mountDisk(dir: string, mib: number): void {
  mkdirSync(dir, { recursive: true });
  const made = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${mib}m`, "tmpfs", dir]);
  if (made.status !== 0) throw new Error(`mount ${dir}: ${made.stderr.toString()}`);
}

export function unmount(dir: string): void {
  spawnSync("umount", ["-l", dir]);
}

/** Takes all the room of a disk; what it gives makes it free again. */
export function fillDisk(dir: string): () => void {
  const path = join(dir, "filler");
  const file = openSync(path, "w");
  try {
    for (let size = FILL_BYTES; size >= 1; size = Math.floor(size / 8)) fillWith(file, size);
  } finally {
    closeSync(file);
  }
  return () => rmSync(path, { force: true });
}

const FILL_BYTES = 262_144;

function fillWith(file: number, bytes: number): void {
  const part = Buffer.alloc(bytes, 7);
  for (;;) {
    try {
      if (writeSync(file, part) < bytes) return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOSPC") return;
      throw error;
    }
  }
}

type Place = Readonly<{ dir: string; socket: string; group: string }>;

function startDaemon({ dir, socket, group }: Place, relayPid: number): ChildProcess {
  rmSync(join(dir, "docker.pid"), { force: true });
  const args = [
    ...[`--net=/proc/${relayPid}/ns/net`, "dockerd", "--config-file", join(dir, "daemon.json")],
    ...[
      "--data-root",
      join(dir, "data"),
      "--exec-root",
      join(dir, "exec"),
      "-H",
      `unix://${socket}`,
    ],
    ...["-p", join(dir, "docker.pid"), "--storage-driver", "overlay2", "--cgroup-parent", group],
    ...["--live-restore", "--log-level", "warn"],
  ];
  const out = join(dir, "dockerd.log");
  return spawn("sh", ["-c", `exec nsenter "$@" >>${out} 2>&1`, "sh", ...args], { stdio: "ignore" });
}

/**
 * Of a daemon that was killed the child is killed too, a moment later, and stays a zombie where nobody reaps it at once;
 * the next daemon takes that for alive, and waits for it in vain.
 */
async function forgetDead(pidFile: string): Promise<void> {
  const pid = existsSync(pidFile) ? Number(readFileSync(pidFile, "utf8")) : 0;
  const deadline = performance.now() + END_MS_MAX;
  while (pid > 0 && isAlive(pid) && performance.now() < deadline) await systemClock.sleep(LOOK_MS);
  if (pid > 0 && !isAlive(pid)) rmSync(pidFile, { force: true });
}

function isAlive(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

async function untilReady(dock: Dock, daemon: ChildProcess, dir: string): Promise<void> {
  const deadline = performance.now() + START_MS_MAX;
  const { signal } = new AbortController();
  for (;;) {
    const isReady = await dock
      .ask("ping", signal, (docker) => docker.ping())
      .then(
        () => true,
        () => false,
      );
    if (isReady) return;
    const said = () => readFileSync(join(dir, "dockerd.log"), "utf8").slice(-2_000);
    if (daemon.exitCode !== null) throw new Error(`dockerd has ended: ${said()}`);
    if (performance.now() > deadline) throw new Error(`dockerd does not answer: ${said()}`);
    await systemClock.sleep(LOOK_MS);
  }
}

async function preload(dock: Dock, archive: string): Promise<void> {
  const { signal } = new AbortController();
  await dock.ask("image", signal, async (docker) => {
    const progress = await docker.loadImage(archive);
    await new Promise((resolve) => docker.modem.followProgress(progress, resolve));
    for (const { Id } of await docker.listImages()) {
      await docker.getImage(Id).tag({ repo: "preloaded", tag: Id.slice(-12) });
    }
  });
}

async function removeAll(dock: Dock): Promise<void> {
  const { signal } = new AbortController();
  await dock.ask("clean-up", signal, async (docker) => {
    for (const { Id } of await docker.listContainers({ all: true })) {
      await docker.getContainer(Id).remove({ force: true, v: true });
    }
  });
}

/** Deepest first. */
function unmountBelow(dir: string): void {
  const points = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .flatMap((line) => line.split(" ")[4] ?? [])
    .filter((point) => point.startsWith(`${dir}/`));
  for (const point of points.reverse()) spawnSync("umount", ["-l", point]);
}

function removeGroups(group: string): void {
  const roots = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => / - cgroup2? /.test(line))
    .flatMap((line) => line.split(" ")[4] ?? []);
  for (const root of roots) spawnSync("rmdir", [join(root, group)], { stdio: "ignore" });
}

function relayed(relaySocket: string): Dial {
  return ({ host, port }, stop) =>
    new Promise((resolve, reject) => {
      const socket = connect(relaySocket);
      socket.once("error", reject);
      socket.once("close", () => reject(new Error(`connect ECONNREFUSED ${host}:${port}`)));
      socket.once("connect", () => socket.write(`${host} ${port}\n`));
      // Whoever asks speaks first, so nothing else is on its way yet.
      socket.once("data", () => resolve(socket));
      stop.addEventListener("abort", () => socket.destroy(stop.reason as Error), { once: true });
    });
}
