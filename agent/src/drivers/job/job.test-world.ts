/**
 * A state directory with a release of a small real program that notes each of its runs, for tests of the job driver.
 * Ends every process that was started in it, however the test went.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, systemClock } from "@holdfast/shared/clock.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { SharedLooks } from "@holdfast/shared/shared-looks.ts";
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
import { Children } from "../host-process/children.ts";
import { findCopies } from "../host-process/copies.ts";
import { signalProcess } from "../host-process/end.ts";
import type { ProgramHost } from "../host-process/host.ts";
import { jobDriver } from "./index.ts";

export const INSTANCE = `ins_${"a".repeat(32)}`;
export const DEADLINE_MS = 60_000;

const quiet: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet };

/**
 * Notes word and pid in data/ran, then does as its word says: ok, fail, flaky (fails until its third try), hang,
 * stubborn (hangs and bears SIGTERM), wait (until data/go is there), leaky (prints its secret), outputs (writes what
 * OUTPUTS says), env (prints its environment), child (leaves a child that writes data/child.pid).
 */
const PROGRAM = `
import { spawn } from "node:child_process";
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
const [word = "ok", ...rest] = process.argv.slice(2);
const { HOLDFAST_DATA_DIR: data, HOLDFAST_TRY, HOLDFAST_OUTPUTS, HOLDFAST_SECRET_DSN_FILE } = process.env;
appendFileSync(data + "/ran", [word, ...rest, process.pid].join(" ") + "\\n");
console.log("did " + word);
if (word === "stubborn") process.on("SIGTERM", () => console.log("no"));
if (word === "hang" || word === "stubborn") setInterval(() => {}, 1_000);
if (word === "wait") { const timer = setInterval(() => { if (existsSync(data + "/go")) clearInterval(timer); }, 5); }
if (word === "leaky") console.log("the dsn is " + readFileSync(HOLDFAST_SECRET_DSN_FILE, "utf8"));
const { OUTPUTS } = process.env;
if (word === "outputs") writeFileSync(HOLDFAST_OUTPUTS, OUTPUTS === "endless" ? '{"note": "' + "x".repeat(70_000) + '"}' : OUTPUTS);
if (word === "env") console.log(JSON.stringify({ due: process.env.HOLDFAST_DUE_TIME, cwd: process.cwd(), umask: process.umask() }));
if (word === "child") { const child = spawn("/bin/sleep", ["600"], { stdio: "ignore" }); writeFileSync(data + "/child.pid", String(child.pid)); setInterval(() => {}, 1_000); }
if (word === "fail" || (word === "flaky" && HOLDFAST_TRY !== "3")) { console.error("cannot"); process.exitCode = 3; }
`;

/** The same in a millisecond: notes its words and pid. */
const QUICK = `#!/bin/sh
echo "$* $$" >>"$HOLDFAST_DATA_DIR/ran"
echo "did $*"
`;

export type World = Readonly<{
  stateDir: string;
  host: ProgramHost;
  context: DriverContext;
  /** Instances of which a child was seen to end. */
  changed: readonly string[];
  /** A fresh one each time: nothing is remembered. */
  driver(): Driver;
  /** `does`: the words of the program. */
  wanted(
    does: readonly string[],
    given?: Partial<Wanted> & Readonly<{ with?: JsonObject }>,
  ): Wanted;
  known(...renderings: readonly Wanted[]): StepContext;
  /** Runs steps that hold the given phase; `notBefore` is waited for. */
  carryOut(
    steps: readonly Step[],
    ...renderings: readonly Wanted[]
  ): Promise<readonly StepOutcome[]>;
  observe(): Promise<readonly Live[]>;
  /** Lines of data/ran, without the pids. */
  ran(): readonly string[];
  dataFile(name: string): string;
  end(): Promise<void>;
}>;

/** `instanceId`: whose data directory is looked at. */
export function createWorld(clock: Clock = systemClock, instanceId = INSTANCE): World {
  const stateDir = mkdtempSync(join(tmpdir(), "holdfast-job-"));
  const artefact = join(stateDir, "artefact");
  mkdirSync(artefact, { recursive: true });
  writeFileSync(join(artefact, "job.mjs"), PROGRAM);
  writeFileSync(join(artefact, "quick"), QUICK, { mode: 0o755 });
  const changed: string[] = [];
  const host = programHostOf((instanceId) => changed.push(instanceId));
  const stop = new AbortController();
  const context = contextOf(stateDir, clock, stop.signal);
  const known = (...renderings: readonly Wanted[]): StepContext => ({
    ...context,
    wanted: async (digest) => {
      const found = renderings.find((each) => each.digest === digest);
      if (found === undefined) throw new Error(`no rendering ${digest}`);
      return found;
    },
  });
  const driver = () => jobDriver(host);
  const carryOut: World["carryOut"] = async (steps, ...renderings) => {
    const outcomes: StepOutcome[] = [];
    for (const step of steps) {
      await clock.sleep(Math.max(0, (step.notBefore ?? 0) - clock.now()));
      outcomes.push(await driver().run(step, known(...renderings)));
    }
    return outcomes;
  };
  const dataFile = (name: string) => join(context.directories(instanceId).data, name);
  const end = async () => {
    stop.abort();
    for (const copy of await findCopies(host, context)) {
      for (const member of copy.members) signalProcess(host, member, "SIGKILL");
    }
    rmSync(stateDir, { recursive: true, force: true });
  };
  return {
    ...{ stateDir, host, context, changed, driver, known, carryOut, dataFile, end },
    wanted: (does, given = {}) => wantedOf(artefact, does, given),
    observe: () => driver().observe(context),
    ran: () => {
      const path = dataFile("ran");
      const lines = existsSync(path) ? readFileSync(path, "utf8").trim().split("\n") : [];
      return lines.map((line) => line.replace(/ \d+$/, "")).filter((line) => line !== "");
    },
  };
}

export function programHostOf(onChange: (instanceId: string) => void): ProgramHost {
  return {
    kind: "job",
    nodePath: process.execPath,
    kill: (pid, signal) => void process.kill(pid, signal),
    umask: (mask) => process.umask(mask),
    onChange,
    children: new Children(),
    looks: new SharedLooks(),
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
  does: readonly string[],
  given: Partial<Wanted> & Readonly<{ with?: JsonObject }>,
): Wanted {
  const { with: more, ...fields } = given;
  return {
    key: { instanceId: INSTANCE, resourceId: "migrate" },
    kind: "job",
    generation: { incarnation: 1n, number: 1n },
    releaseVersion: "1.0.0",
    digest: `sha256:${"1".repeat(64)}`,
    spec: {
      artefact: "tools",
      argv: ["node", "job.mjs", ...does],
      deadlineMs: 30_000,
      stop: { graceMs: 3_000 },
      backoff: { baseMs: 20, capMs: 100 },
      ...(more?.["undo"] === undefined &&
        more?.["irreversible"] === undefined && { effect: "none" }),
      ...more,
    },
    secrets: new Map(),
    artefacts: new Map([["tools", artefact]]),
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
    await systemClock.sleep(10);
  }
}
