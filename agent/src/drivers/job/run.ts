/**
 * Begins, ends and settles one run. A run is begun at most once: it is written down first, its supervisor waits for a
 * word that comes only once process and run are durable, and what was cut off before that has not run.
 */
import type { ChildProcess } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import type { JobSpec } from "@holdfast/shared/blueprint/kinds/job.ts";
import { formatGeneration } from "@holdfast/shared/generation.ts";
import type { DriverContext, Wanted } from "../driver.ts";
import { accountOf } from "../host-process/account.ts";
import { hold, identityOf, makeRoom, recordOf } from "../host-process/begin.ts";
import { removeGroups } from "../host-process/cgroup.ts";
import { endCopy } from "../host-process/end.ts";
import { workDirectory } from "../host-process/environment.ts";
import type { ProgramHost } from "../host-process/host.ts";
import { launch, launchFault } from "../host-process/launch.ts";
import { beginMeter, endMeter } from "../host-process/meter.ts";
import { writeRecord } from "../host-process/record.ts";
import { removeRemains } from "../host-process/remains.ts";
import { openLog } from "../logs.ts";
import { saidBy } from "./ending.ts";
import { type Ending, type Job, jobDir, type Run, runHandle, writeJob } from "./ledger.ts";
import { OUTPUTS_VARIABLE, outputsPath, readOutputs } from "./outputs.ts";
import { endOf, isAlive, isUnbegun, type SeenRun } from "./standing.ts";
import { openNotes, supervised } from "./supervisor.ts";

/** Which of a job's two programs. */
export type Part = "run" | "undo";

export type Begin = Readonly<{
  wanted: Wanted;
  spec: JobSpec;
  part: Part;
  run: Pick<Run, "number" | "try" | "dueAt">;
}>;

/** The supervisor is one process more. */
const SUPERVISORS = 1;

/** Writes the run down and lets its program begin; gives the job as it is written then. */
export async function beginRun(
  host: ProgramHost,
  job: Job,
  { wanted, spec, part, run }: Begin,
  context: DriverContext,
): Promise<Job> {
  const beganAt = context.clock.now();
  const runs = Math.max(job.runs, run.number + 1);
  const begun: Job = { ...job, runs, [part]: { ...run, beganAt, isLaunched: false } };
  const dir = jobDir(context, job.instance, job.handle);
  writeJob(dir, begun);
  const runDir = jobDir(context, job.instance, runHandle(job.handle, run.number));
  // What an earlier start under this number left was never given the word.
  removeRemains(runDir);
  mkdirSync(runDir, { recursive: true, mode: 0o700 });
  try {
    return await launchRun(host, begun, { wanted, spec, part, run }, runDir, context);
  } catch (error) {
    removeRemains(runDir);
    throw error;
  }
}

async function launchRun(
  host: ProgramHost,
  job: Job,
  { wanted, spec, part, run }: Begin,
  runDir: string,
  context: DriverContext,
): Promise<Job> {
  const handle = runHandle(job.handle, run.number);
  const words = part === "undo" ? (spec.undo?.argv ?? []) : spec.argv;
  const program = { ...spec, argv: words, limits: roomyLimits(spec) };
  const room = makeRoom(host, { wanted, spec: program, handle, runDir }, context);
  const { account, cwd } = room;
  rmSync(outputsPath(cwd), { force: true });
  const env = room.environment({}, variablesOf(run, cwd));
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
    const launched = withRun(job, part, (each) => ({ ...each, isLaunched: true }));
    writeJob(jobDir(context, job.instance, job.handle), launched);
    await giveWord(child);
    context.log.debug({ job: handle, pid: process.pid, try: run.try }, "job begun");
    return launched;
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

function roomyLimits({ limits }: JobSpec): JobSpec["limits"] {
  return limits.pids === undefined ? limits : { ...limits, pids: limits.pids + SUPERVISORS };
}

function variablesOf(run: Begin["run"], cwd: string): Record<string, string> {
  return {
    [OUTPUTS_VARIABLE]: outputsPath(cwd),
    HOLDFAST_TRY: String(run.try),
    ...(run.dueAt !== undefined && { HOLDFAST_DUE_TIME: new Date(run.dueAt).toISOString() }),
  };
}

/** Ends what runs of it: why is written down first, so that it is known whoever sees the end. */
export async function endRun(
  host: ProgramHost,
  job: Job,
  part: Part,
  seen: SeenRun,
  why: Ending,
  context: DriverContext,
): Promise<Job> {
  const ending = withRun(job, part, (run) => ({ ...run, ending: run.ending ?? why }));
  writeJob(jobDir(context, job.instance, job.handle), ending);
  if (seen.copy !== undefined) await endCopy(host, seen.copy, context);
  return ending;
}

/** Writes down how a run ended that is over; the job as it was where it is not. In one turn of the event loop. */
export function settleRun(
  host: ProgramHost,
  job: Job,
  part: Part,
  seen: SeenRun,
  spec: JobSpec | undefined,
  context: DriverContext,
): Job {
  if (seen.run.end !== undefined || isAlive(seen) || isUnbegun(seen)) return job;
  const said = saidBy(job, seen.run, seen.runDir, context);
  const found = endOf(seen, context);
  const isDone = found.outcome === "done" && part === "run";
  const read =
    isDone && spec !== undefined
      ? readOutputs(
          spec.outputs,
          workDirectory(seen.runDir, accountOf(host, spec.user)),
          seen.runDir,
        )
      : { outputs: job.outputs };
  const end =
    "problem" in read
      ? { ...found, outcome: "failed" as const, message: `${found.message}; ${read.problem}` }
      : found;
  const outputs = "problem" in read ? job.outputs : read.outputs;
  const settled = withRun({ ...job, outputs, said, hasBegun: true }, part, (run) => ({
    ...run,
    end,
  }));
  if (seen.copy !== undefined) endMeter(seen.copy, end.at, context);
  writeJob(jobDir(context, job.instance, job.handle), settled);
  if (seen.copy?.record !== undefined) removeGroups(seen.copy.record.groups);
  return settled;
}

function withRun(job: Job, part: Part, change: (run: Run) => Run): Job {
  const run = job[part];
  return run === undefined ? job : { ...job, [part]: change(run) };
}

/** A job that is written down before anything of it runs. */
export function newJob(
  wanted: Wanted,
  handle: string,
  generation: string | undefined,
  { when, effect }: Pick<JobSpec, "when" | "effect">,
  now: number,
): Job {
  return {
    instance: wanted.key.instanceId,
    resource: wanted.key.resourceId,
    ...{ handle, digest: wanted.digest },
    generation: generation ?? formatGeneration(wanted.generation),
    ...{ when: when.kind, effect, beganAt: now, runs: 0 },
    ...{ hasBegun: false, isRecalled: false, outputs: {}, said: [] },
  };
}
