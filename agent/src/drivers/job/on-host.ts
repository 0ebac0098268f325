/**
 * Runs jobs as processes of the host. A run is begun at most once: its supervisor waits for a word that comes only once
 * process and run are durable, and what was cut off before that has not run.
 */
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, rmSync } from "node:fs";
import type { ProgramSpec } from "@holdfast/shared/blueprint/kinds/program.ts";
import type { DriverContext, DriverReading } from "../driver.ts";
import { countOf } from "../handles.ts";
import { accountOf } from "../host-process/account.ts";
import { hold, identityOf, makeRoom, recordOf } from "../host-process/begin.ts";
import { pruneGroups, removeGroups, usageOf } from "../host-process/cgroup.ts";
import {
  type Copy,
  findCopies,
  findRecordedCopies,
  findSettledCopies,
} from "../host-process/copies.ts";
import { clearAway, dropInstance, endCopy } from "../host-process/end.ts";
import { workDirectory } from "../host-process/environment.ts";
import type { ProgramHost } from "../host-process/host.ts";
import { launch, launchFault } from "../host-process/launch.ts";
import { beginMeter, endMeter, readingsOf, sampleMeter } from "../host-process/meter.ts";
import { prepareProgram } from "../host-process/prepare.ts";
import { ticksToMs, uptimeMs } from "../host-process/proc.ts";
import { readExit, writeExit, writeHealth, writeRecord } from "../host-process/record.ts";
import { removeRemains } from "../host-process/remains.ts";
import { overuseOf } from "../host-process/watch.ts";
import { redactorOf } from "../log-reader.ts";
import { lastLines, logPath, openLog, tendLogs } from "../logs.ts";
import { messageOf } from "../output.ts";
import { type Job, jobDir, jobHandleOf, type Run, readJob, runHandle } from "./ledger.ts";
import { outputsPath } from "./outputs.ts";
import {
  type Begin,
  type FoundEnd,
  isLongOver,
  type Look,
  type Named,
  type Runner,
  type SeenRun,
  variablesOf,
} from "./runner.ts";
import type { JobSpec } from "./spec.ts";
import { openNotes, readNotes, supervised } from "./supervisor.ts";

/** The supervisor is one process more. */
const SUPERVISORS = 1;

type HostSpec = Extract<JobSpec, { runsAs: "process" }>;

export function asProcesses(host: ProgramHost): Runner {
  return {
    prepare: async (wanted, spec) => {
      if (spec.runsAs !== "process") return;
      prepareProgram(host, wanted, spec, spec.undo === undefined ? [] : [spec.undo.argv]);
    },
    look: async (_, context, scope) => {
      const find = { all: findSettledCopies, recorded: findRecordedCopies };
      return lookOf(host, await (scope ? find[scope] : findCopies)(host, context), context);
    },
    begin: (job, begin, launched, context) => beginRun(host, job, begin, launched, context),
    remove: async (job, number, context) => removeRemains(runDirOf(job, number, context)),
    endAll: async (job, context) => (await endRuns(host, job, context)).length,
    forget: async (job, context) => {
      const copies = await endRuns(host, job, context);
      for (const copy of copies) await clearAway(copy, context);
      return copies.length;
    },
    homeOf: runDirOf,
    readings: (context) => readAll(host, context),
    takeOutput: async () => undefined,
    redactor: redactorOf,
    drop: (instanceId, context) => dropInstance(host, instanceId, context),
  };
}

async function endRuns(
  host: ProgramHost,
  { instance, handle: job }: Named,
  context: DriverContext,
): Promise<readonly Copy[]> {
  const copies = (await findCopies(host, context)).filter(({ key, handle }) => {
    return key.instanceId === instance && jobHandleOf(handle) === job;
  });
  for (const copy of copies) await endCopy(host, copy, context);
  return copies;
}

function runDirOf(
  { instance, handle }: Pick<Job, "instance" | "handle">,
  number: number,
  context: DriverContext,
): string {
  return jobDir(context, instance, runHandle(handle, number));
}

function lookOf(host: ProgramHost, copies: readonly Copy[], context: DriverContext): Look {
  return {
    marked: copies,
    see: (job, run) => {
      const name = runHandle(job.handle, run.number);
      const copy = copies.find(
        ({ key, handle }) => handle === name && key.instanceId === job.instance,
      );
      return seen(host, job, run, copy, context);
    },
  };
}

function seen(
  host: ProgramHost,
  job: Job,
  run: Run,
  copy: Copy | undefined,
  context: DriverContext,
): SeenRun {
  const runDir = runDirOf(job, run.number, context);
  const log = logPath(context.directories(job.instance).logs, runHandle(job.handle, run.number));
  const isAlive = copy !== undefined && (copy.running || copy.members.length > 0);
  return {
    run,
    isAlive,
    isUnbegun: () => !run.isLaunched || readNotes(runDir)?.isBegun === false,
    beganAt: () => beganOf(host, run, copy, context),
    overuse: copy?.health?.overuse,
    found: () => endFound(copy, runDir, log, context),
    said: (lines) => lastLines(log, runDir, lines),
    gives: (spec) => {
      const account = spec.runsAs === "process" ? accountOf(host, spec.user) : undefined;
      return { path: outputsPath(workDirectory(runDir, account)), home: runDir };
    },
    watch: async ({ limits }) => {
      if (copy === undefined || !isAlive) return;
      if (copy.running) sampleMeter(host.procDir, copy);
      tendLogs(context.directories(job.instance), copy.handle, context);
      const overuse = await overuseOf(host, copy, limits, context);
      if (overuse === "") return;
      writeHealth(runDir, { wasReady: false, failures: 0, failing: true, overuse });
    },
    ended: () => copy?.process && host.children.ended(copy.process),
    end: async () => {
      if (copy !== undefined) await endCopy(host, copy, context);
    },
    close: (at) => {
      if (copy !== undefined) endMeter(copy, at, context);
    },
    letGo: () => {
      if (copy?.record !== undefined) removeGroups(copy.record.groups);
    },
  };
}

/** By the time since boot, so that a jump of the clock neither cuts it off nor lets it run for ever. */
function beganOf(
  { procDir }: ProgramHost,
  { beganAt }: Run,
  copy: Copy | undefined,
  { clock }: DriverContext,
): number {
  if (copy?.process === undefined || copy.ofEarlierBoot) return beganAt;
  const ageMs = uptimeMs(procDir) - ticksToMs(copy.process.startTicks);
  return Math.round(clock.now() - Math.max(0, ageMs));
}

/** Before its secrets are gone. */
function endFound(
  copy: Copy | undefined,
  runDir: string,
  log: string,
  context: DriverContext,
): FoundEnd {
  const notes = readNotes(runDir);
  const who = copy?.ofEarlierBoot === true ? "the host was switched off" : "all of it was killed";
  return {
    at: notes?.status === undefined ? context.clock.now() : notes.at,
    status: notes?.status,
    wantOfMemory: wantOfMemory(copy),
    lost: `${who} while it ran`,
    said: copy === undefined ? "" : messageOf(log, runDir),
  };
}

/** The kernel counts whom it ended so in the run's own group. */
function wantOfMemory(copy: Copy | undefined): string | undefined {
  if (copy?.record === undefined || usageOf(copy.record.groups).oomKills === 0) return undefined;
  const limit = copy.record.kept.find(({ amount }) => amount === "limits.memoryMib");
  return limit?.what ?? "a limit above its own";
}

async function beginRun(
  host: ProgramHost,
  job: Job,
  begin: Begin,
  launched: () => void,
  context: DriverContext,
): Promise<void> {
  const { spec } = begin;
  if (spec.runsAs !== "process") return;
  const runDir = runDirOf(job, begin.run.number, context);
  // What an earlier start under this number left was never given the word.
  removeRemains(runDir);
  mkdirSync(runDir, { recursive: true, mode: 0o700 });
  try {
    await launchRun(host, job, { ...begin, spec }, runDir, launched, context);
  } catch (error) {
    removeRemains(runDir);
    throw error;
  }
}

async function launchRun(
  host: ProgramHost,
  job: Job,
  { wanted, spec, part, run }: Begin & Readonly<{ spec: HostSpec }>,
  runDir: string,
  launched: () => void,
  context: DriverContext,
): Promise<void> {
  const handle = runHandle(job.handle, run.number);
  const words = part === "undo" ? (spec.undo?.argv ?? []) : spec.argv;
  const program: ProgramSpec = { ...spec, argv: words, limits: roomyLimits(spec) };
  const room = makeRoom(host, { wanted, spec: program, handle, runDir }, context);
  const { account, cwd } = room;
  rmSync(outputsPath(cwd), { force: true });
  const env = room.environment({}, variablesOf(run, outputsPath(cwd)));
  const copy = {
    ...{ key: wanted.key, handle, digest: job.digest, generation: job.generation },
    ...{ ports: {}, restarts: run.try - 1 },
  };
  const record = recordOf(copy, spec.stop, room.held, undefined, context.clock.now());
  writeRecord(runDir, record);
  const { logs } = context.directories(job.instance);
  const log = openLog(logs, job.resource, { handle, kept: [handle] });
  const notes = openNotes(runDir);
  const { file, args } = supervised(room.program.file, room.program.args);
  const child = launch(host, {
    ...{ file, args, env, cwd, umask: spec.umask, account },
    stdio: ["pipe", log.file, log.file, notes.file],
  });
  log.close();
  notes.close();
  try {
    const process = identityOf(host, child);
    if (process === undefined) throw await launchFault(host, child, file);
    host.children.add(child, process, () => host.onChange(job.instance));
    const held = await hold(host, room.held, process.pid, program);
    writeRecord(runDir, { ...record, process, kept: held.kept });
    beginMeter(runDir, process);
    launched();
    await giveWord(child);
    context.log.debug({ job: handle, pid: process.pid, try: run.try }, "job begun");
  } catch (error) {
    // Without the word it ends by itself, and nothing has run.
    child.stdin?.destroy();
    throw error;
  }
}

/** Whoever is gone meanwhile has not run anything. */
function giveWord({ stdin }: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    stdin?.once("error", () => resolve());
    stdin?.end("go\n", () => resolve());
  });
}

function roomyLimits({ limits }: HostSpec): HostSpec["limits"] {
  return limits.pids === undefined ? limits : { ...limits, pids: limits.pids + SUPERVISORS };
}

/** Runs that have ended are explained, so that no look has to search for them. */
async function readAll(
  host: ProgramHost,
  context: DriverContext,
): Promise<readonly DriverReading[]> {
  const now = context.clock.now();
  const running: DriverReading[] = [];
  for (const copy of await findSettledCopies(host, context)) {
    const { key, handle, runDir } = copy;
    const meter = copy.running ? sampleMeter(host.procDir, copy) : undefined;
    const isOver = copy.members.length === 0 && copy.process !== undefined;
    const notes = isOver ? readNotes(runDir) : undefined;
    if (meter !== undefined) running.push(...readingsOf(copy, meter, now));
    else if (isOver) {
      endMeter(copy, notes?.at ?? now, context);
      if (existsSync(runDir) && readExit(runDir) === undefined) {
        writeExit(runDir, { at: notes?.at ?? now, code: notes?.status, signal: undefined });
      }
    }
    tendLogs(context.directories(key.instanceId), handle, context);
    const job = readJob(jobDir(context, key.instanceId, jobHandleOf(handle)));
    if (isLongOver(job, countOf(handle), notes?.at, now)) removeRemains(runDir);
  }
  pruneGroups(host.procDir, context.stateDir);
  return running;
}
