/**
 * A state directory with a release of a small real program, for tests of the process driver. Ends every process
 * that was started in it, however the test went.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, systemClock } from "@holdfast/shared/clock.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { SharedLooks } from "@holdfast/shared/shared-looks.ts";
import { AskedCopies } from "../asked.ts";
import type {
  Driver,
  DriverContext,
  JsonObject,
  Live,
  Step,
  StepContext,
  StepOutcome,
  Wanted,
} from "../driver.ts";
import { foldersOf } from "../folders.ts";
import { pruneGroups } from "../host-process/cgroup.ts";
import { findPlaces } from "../host-process/cgroup-places.ts";
import { Children } from "../host-process/children.ts";
import { findCopies } from "../host-process/copies.ts";
import { signalProcess } from "../host-process/end.ts";
import type { ProcessHost } from "./host.ts";
import { processDriver } from "./index.ts";
import { ReadSpecs } from "./spec.ts";

export const INSTANCE = `ins_${"a".repeat(32)}`;
export const DEADLINE_MS = 60_000;

const quiet: Log = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => quiet,
};

/**
 * Serves its environment, arguments and working directory over HTTP; what else it does is said by MODE:
 * never-ready, crash, stubborn (ignores SIGTERM), parent (has a stubborn child), mute (never listens), busy,
 * leaky (prints a secret), hup (waits for SIGHUP), reexec (replaces its environment), eater (takes more and more
 * memory once told), forker (has twenty children once told), daemon (a child that left session, group and marks),
 * heir (a child that works for a while and ends, waited for or not), garbage (prints what no terminal should see).
 */
const PROGRAM = `
import { spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
const mode = process.env.MODE ?? "";
console.log("hello from " + process.env.HOLDFAST_RELEASE);
if (mode === "reexec") {
  const { HOLDFAST_PORT_HTTP, HOLDFAST_DATA_DIR } = process.env;
  process.execve(process.execPath, [process.execPath, process.argv[1]], { HOLDFAST_PORT_HTTP, HOLDFAST_DATA_DIR });
}
if (mode === "crash") { console.error("cannot go on"); process.exit(3); }
if (mode === "stubborn" || mode === "child") process.on("SIGTERM", () => console.log("no"));
if (mode === "child" || mode === "mute") setInterval(() => {}, 1000);
if (mode === "parent") spawn(process.execPath, [process.argv[1]], { env: { ...process.env, MODE: "child" }, stdio: "inherit" });
if (mode === "leaky") console.log("the dsn is " + readFileSync(process.env.HOLDFAST_SECRET_DSN_FILE, "utf8"));
if (mode === "hup") process.on("SIGHUP", () => console.log("told by SIGHUP"));
if (mode === "busy") setInterval(() => { const end = Date.now() + 30; while (Date.now() < end); }, 40);
const told = (work) => { const timer = setInterval(() => {
  if (!existsSync(process.env.HOLDFAST_DATA_DIR + "/go")) return;
  clearInterval(timer);
  work();
}, 10); };
const kept = [];
if (mode === "eater") told(() => setInterval(() => kept.push(Buffer.alloc(4 << 20, 1)), 5));
const sleeper = (options) => spawn("/bin/sleep", ["600"], { stdio: "ignore", ...options });
if (mode === "forker") told(() => { for (let n = 0; n < 20; n++) sleeper().on("error", (error) => console.log("fork: " + error.code)); });
if (mode === "daemon") writeFileSync(process.env.HOLDFAST_DATA_DIR + "/daemon.pid", String(sleeper({ detached: true, env: {} }).pid));
const busy = "while (process.cpuUsage().user < 120_000);";
if (mode === "heir") told(() => spawn(process.execPath, ["-e", busy], { stdio: "ignore" }).on("exit", () => writeFileSync(process.env.HOLDFAST_DATA_DIR + "/done", "")));
if (mode === "garbage") process.stdout.write(Buffer.concat([
  Buffer.from("\\u001b]52;c;aGk=\\u0007\\u001b[2J\\u009b31m\\u202e"), Buffer.from([0xff, 0xfe, 0x00, 0x80]),
  Buffer.from("\\n" + "x".repeat(10 << 20) + "\\nlast\\n")]), () => process.exit(4));
if (mode !== "child" && mode !== "mute" && mode !== "garbage") createServer((request, response) => {
  const sick = mode === "never-ready" || existsSync(process.env.HOLDFAST_DATA_DIR + "/sick");
  if (request.url === "/elsewhere") return response.writeHead(302, { location: "http://127.0.0.1:1/" }).end();
  if (request.url === "/silent") return;
  response.statusCode = request.url === "/healthz" && sick ? 503 : 200;
  response.end(JSON.stringify({ release: process.env.HOLDFAST_RELEASE, pid: process.pid, env: process.env,
    argv: process.argv.slice(2), cwd: process.cwd(), umask: process.umask() }));
}).listen(Number(process.env.HOLDFAST_PORT_HTTP), "127.0.0.1");
`;

/** A probe: says what its environment is, and does as its argument says. */
const CHECK = `
import { spawn } from "node:child_process";
import { appendFileSync, existsSync, readFileSync } from "node:fs";
const data = process.env.HOLDFAST_DATA_DIR;
appendFileSync(data + "/asked", process.pid + "\\n");
const [how] = process.argv.slice(2);
if (how === "env") console.log(JSON.stringify({ port: process.env.HOLDFAST_PORT_HTTP, cwd: process.cwd(), umask: process.umask() }));
if (how === "no") { console.error("not yet\\u001b[31m"); process.exit(7); }
if (how === "leaky") { console.log(readFileSync(process.env.HOLDFAST_SECRET_DSN_FILE, "utf8")); process.exit(1); }
if (how === "flood") { const part = "x".repeat(65536) + "\\n"; for (let n = 0; n < 200; n++) process.stdout.write(part); process.exit(1); }
if (how === "hang") { spawn("/bin/sleep", ["600"], { stdio: "inherit" }); setInterval(() => {}, 1000); }
if (how === "leave") { spawn("/bin/sleep", ["600"], { stdio: "inherit" }); setTimeout(() => process.exit(0), 20); }
if (how === "file") process.exit(existsSync(data + "/sick") ? 1 : 0);
`;

export type World = Readonly<{
  stateDir: string;
  artefact: string;
  host: ProcessHost;
  context: DriverContext;
  /** Instances whose processes were seen to end. */
  changed: readonly string[];
  /** A fresh one each time: nothing is remembered. */
  driver(): Driver;
  wanted(given?: Partial<Wanted> & Readonly<{ with?: JsonObject }>): Wanted;
  known(...renderings: readonly Wanted[]): StepContext;
  /** Runs steps that hold the given phase; `notBefore` is waited for. */
  carryOut(
    steps: readonly Step[],
    ...renderings: readonly Wanted[]
  ): Promise<readonly StepOutcome[]>;
  /** What is there, started from the wish if need be, once it is ready. */
  running(wanted: Wanted): Promise<Live>;
  observe(): Promise<readonly Live[]>;
  /** Whatever runs, at once. */
  kill(): Promise<void>;
  end(): Promise<void>;
}>;

export function createWorld(
  clock: Clock = systemClock,
  existing?: string,
  change: Partial<ProcessHost> = {},
): World {
  const stateDir = existing ?? mkdtempSync(join(tmpdir(), "holdfast-process-"));
  const artefact = join(stateDir, "artefact");
  mkdirSync(artefact, { recursive: true });
  if (existing === undefined) {
    writeFileSync(join(artefact, "worker.mjs"), PROGRAM);
    writeFileSync(join(artefact, "check.mjs"), CHECK);
  }
  const changed: string[] = [];
  const host = { ...hostOf((instanceId) => changed.push(instanceId)), ...change };
  const stop = new AbortController();
  const context = contextOf(stateDir, clock, stop.signal);
  const driver = () => processDriver(host);
  const known = (...renderings: readonly Wanted[]): StepContext => ({
    ...context,
    wanted: async (digest) => {
      const found = renderings.find((each) => each.digest === digest);
      if (found === undefined) throw new Error(`no rendering ${digest}`);
      return found;
    },
  });
  const carryOut: World["carryOut"] = async (steps, ...renderings) => {
    const outcomes: StepOutcome[] = [];
    for (const step of steps) {
      await clock.sleep(Math.max(0, (step.notBefore ?? 0) - clock.now()));
      outcomes.push(await driver().run(step, known(...renderings)));
    }
    return outcomes;
  };
  const observe = () => driver().observe(context);
  const running: World["running"] = async (wanted) => {
    const steps = driver().steps(await observe(), undefined, wanted, clock.now());
    await carryOut(steps, wanted);
    return await eventually(`${wanted.digest} is ready`, async () => {
      const live = (await observe()).find(({ digest }) => digest === wanted.digest);
      if (live === undefined) return undefined;
      const { state } = await driver().health(live, wanted, context);
      return state === "ready" ? live : undefined;
    });
  };
  const wanted: World["wanted"] = (given = {}) => wantedOf(artefact, given);
  const kill = () => killAll(host, context);
  const end = async () => {
    stop.abort();
    await kill();
    if (existing === undefined) await removeEmptied(host.procDir, stateDir);
    if (existing === undefined) rmSync(stateDir, { recursive: true, force: true });
  };
  return {
    stateDir,
    artefact,
    host,
    context,
    changed,
    driver,
    wanted,
    known,
    carryOut,
    running,
    observe,
    kill,
    end,
  };
}

async function killAll(host: ProcessHost, context: DriverContext): Promise<void> {
  for (const copy of await findCopies(host, context)) {
    for (const member of copy.members) signalProcess(host, member, "SIGKILL");
  }
}

/** The groups of what was killed above: they can go once the kernel has let the last process go. */
async function removeEmptied(procDir: string, stateDir: string): Promise<void> {
  rmSync(join(stateDir, "instances"), { recursive: true, force: true });
  await eventually("no group is left", () => {
    pruneGroups(procDir, stateDir);
    const left = Object.values(findPlaces(procDir, stateDir).found).flatMap(({ dir }) =>
      foldersOf(dir),
    );
    pruneGroups(procDir, stateDir);
    return left.length === 0 || undefined;
  });
}

export function hostOf(onChange: (instanceId: string) => void): ProcessHost {
  return {
    kind: "process",
    nodePath: process.execPath,
    kill: (pid, signal) => void process.kill(pid, signal),
    umask: (mask) => process.umask(mask),
    onChange,
    children: new Children(),
    looks: new SharedLooks(),
    asked: new AskedCopies(),
    specs: new ReadSpecs(),
    procDir: "/proc",
    withoutGroups: undefined,
    uid: process.getuid?.() ?? 0,
    users: [],
    accountsFile: "/etc/passwd",
  };
}

function contextOf(stateDir: string, clock: Clock, signal: AbortSignal): DriverContext {
  return {
    ...{ log: quiet, clock, signal, stateDir },
    random: Math.random,
    directories: (instanceId) => {
      const root = join(stateDir, "instances", instanceId.slice(4));
      const directories = {
        run: join(root, "run"),
        data: join(root, "data"),
        logs: join(root, "logs"),
        seatsFile: join(root, "seats.json"),
      };
      for (const path of [directories.run, directories.data, directories.logs]) {
        mkdirSync(path, { recursive: true });
      }
      return directories;
    },
  };
}

function wantedOf(
  artefact: string,
  given: Partial<Wanted> & Readonly<{ with?: JsonObject }>,
): Wanted {
  const { with: more, ...fields } = given;
  return {
    key: { instanceId: INSTANCE, resourceId: "worker" },
    kind: "process",
    generation: { incarnation: 1n, number: 1n },
    releaseVersion: "1.0.0",
    digest: `sha256:${"1".repeat(64)}`,
    spec: {
      artefact: "worker",
      argv: ["node", "worker.mjs"],
      ports: { http: {} },
      readiness: { http: { port: "http", path: "/healthz" }, deadlineMs: 10_000 },
      stop: { graceMs: 3_000, drainMs: 0 },
      restart: { baseMs: 50, capMs: 400 },
      ...more,
    },
    secrets: new Map(),
    artefacts: new Map([["worker", artefact]]),
    ...fields,
  };
}

/** What the look gives once it gives anything; fails after DEADLINE_MS. */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | undefined> | T | undefined,
): Promise<T> {
  const deadline = performance.now() + DEADLINE_MS;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > deadline) throw new Error(`not within ${DEADLINE_MS} ms: ${what}`);
    await systemClock.sleep(20);
  }
}

export function portOf(live: Live): number {
  return Number((live.outputs["ports"] as JsonObject)["http"]);
}

/** What the program says about itself. */
export async function ask(live: Live): Promise<{
  release: string;
  pid: number;
  env: Record<string, string>;
  argv: readonly string[];
  cwd: string;
  umask: number;
}> {
  const answer = await fetch(`http://127.0.0.1:${portOf(live)}/`);
  return (await answer.json()) as Awaited<ReturnType<typeof ask>>;
}
