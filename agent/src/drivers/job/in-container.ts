/**
 * Runs jobs as containers of the host's engine, which needs no supervisor: a container that was made and never started
 * has not run for certain, and how one ended the engine knows, also after the agent or itself was away. Loaded only
 * where the customer names an engine.
 */
import { chmodSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { OUTPUTS_PATH } from "@holdfast/shared/blueprint/kinds/container-mounts.ts";
import { STOP_UNKNOWN } from "../copy-plan.ts";
import type { DriverContext, DriverReading, Wanted } from "../driver.ts";
import { type Copy, findCopies, findCopy } from "../engine/copies.ts";
import { endCopy, isLiving, leaveInstance, removeCopy } from "../engine/end.ts";
import { isGone } from "../engine/faults.ts";
import { givenDirOf, removeGiven, removeInstanceGiven } from "../engine/given.ts";
import { type ContainerHost, hostFor } from "../engine/host.ts";
import { holdImage, letGoOfImages } from "../engine/image.ts";
import { launchContainer, makeContainer, prepareMaking } from "../engine/make.ts";
import { imageHolder } from "../engine/marks.ts";
import { endMeter, readingsOf, sampleMeter } from "../engine/meter.ts";
import { removeNotes } from "../engine/notes.ts";
import { lastOutput } from "../engine/output.ts";
import type { ContainerSpec } from "../engine/spec.ts";
import { countOf } from "../handles.ts";
import { generationOf } from "../host-process/ends.ts";
import { redactorFrom } from "../log-reader.ts";
import { tendLogs } from "../logs.ts";
import { messageIn } from "../output.ts";
import {
  type Job,
  jobDir,
  jobHandleOf,
  type Run,
  readJob,
  runHandle,
  SAID_LINES_MAX,
} from "./ledger.ts";
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

type BoxSpec = Extract<JobSpec, { runsAs: "container" }>;

/** Of an engine for containers that serve, with which these take turns. */
export function asContainers(engine: ContainerHost): Runner {
  const host = hostFor("job", engine);
  return {
    prepare: async (wanted, spec, context) => {
      if (spec.runsAs === "container") {
        await prepareMaking(host, wanted, containerSpec(spec, "run"), context);
      }
    },
    // A step is about one instance; a look at all finds also what nobody has written down.
    look: (jobs, context, scope) =>
      lookAt(host, jobs, context, scope === undefined ? jobs[0]?.instance : undefined),
    begin: (job, begin, launched, context) => beginRun(host, job, begin, launched, context),
    remove: async (job, number, context) => {
      const handle = runHandle(job.handle, number);
      const copy = await findCopy(host, job.instance, handle, context);
      if (copy !== undefined) await removeCopy(host, copy, context);
      removeGiven(givenDirOf(host, { instanceId: job.instance }, handle, context));
      removeNotes(jobDir(context, job.instance, handle));
    },
    endAll: async (job, context) => (await endRuns(host, job, context)).length,
    forget: (job, context) => forgetRuns(host, job, context),
    homeOf: ({ instance, handle }, number, context) =>
      givenDirOf(host, { instanceId: instance }, runHandle(handle, number), context),
    readings: (context) => readAll(host, context),
    takeOutput: (context) => host.followers.follow(host, context),
    redactor: ({ key, handle }, context) => redactorFrom(givenDirOf(host, key, handle, context)),
    drop: (instanceId, context) => dropRuns(host, instanceId, context),
  };
}

/** What is only for those that serve is as if it were not there. */
function containerSpec(spec: BoxSpec, part: Begin["part"]): ContainerSpec {
  const { argv, ...rest } = spec;
  const words = part === "undo" ? spec.undo?.argv : argv;
  return {
    ...rest,
    ...(words !== undefined && { argv: words }),
    ports: {},
    restart: { baseMs: 0, capMs: 0, policy: "agent" },
  };
}

/** Of what has ended and is not written down yet, its last lines are asked for: the rules that read them wait for nobody. */
async function lookAt(
  host: ContainerHost,
  jobs: readonly Job[],
  context: DriverContext,
  instanceId: string | undefined,
): Promise<Look> {
  const copies = await findCopies(host, context, instanceId);
  const open = jobs.flatMap(({ instance, handle, run, undo }) =>
    [run, undo].flatMap((each) =>
      each === undefined || each.end !== undefined
        ? []
        : [{ instance, name: runHandle(handle, each.number) }],
    ),
  );
  const said = new Map<string, readonly string[]>();
  for (const copy of copies) {
    if (copy.exit === undefined) continue;
    const isOpen = open.some(
      ({ instance, name }) => name === copy.handle && instance === copy.key.instanceId,
    );
    if (!isOpen) continue;
    await host.followers.keep(host, copy, context);
    said.set(copy.id, await lastOutput(host, copy, context, SAID_LINES_MAX));
  }
  return {
    marked: copies.map((copy) => ({
      ...{ key: copy.key, handle: copy.handle, digest: copy.digest, generation: copy.generation },
      ...{ startedAt: copy.createdAt, running: isLiving(copy) },
    })),
    see: (job, run) => {
      const name = runHandle(job.handle, run.number);
      const copy = copies.find(
        ({ key, handle }) => handle === name && key.instanceId === job.instance,
      );
      return seen(host, { job, run, copy, lines: said.get(copy?.id ?? "") ?? [] }, context);
    },
  };
}

type Sight = Readonly<{ job: Job; run: Run; copy: Copy | undefined; lines: readonly string[] }>;

function seen(
  host: ContainerHost,
  { job, run, copy, lines }: Sight,
  context: DriverContext,
): SeenRun {
  const key = { instanceId: job.instance };
  const handle = runHandle(job.handle, run.number);
  const isAlive = copy !== undefined && isLiving(copy);
  return {
    run,
    isAlive,
    isUnbegun: () => !run.isLaunched || copy?.state === "created",
    beganAt: () => beganOf(host, run, context),
    overuse: undefined,
    found: () => endFound(copy, lines, context),
    said: (count) => lines.slice(-count),
    gives: () => ({
      path: outputsPath(outputsFolder(jobDir(context, job.instance, handle))),
      home: givenDirOf(host, key, handle, context),
    }),
    watch: async () => {
      if (copy?.state === "running") await sampleMeter(host, copy, context);
    },
    ended: (stop) => copy && endOf(host, copy, stop),
    end: async () => {
      if (copy === undefined) return;
      // Whoever asked the engine to start it may be gone, and the question be on its way still.
      if (copy.state === "created") await removeCopy(host, copy, context);
      else await endCopy(host, copy, context, job.stop);
    },
    close: (at) => {
      if (copy !== undefined) endMeter(copy, at, context);
    },
    letGo: () => undefined,
  };
}

/** By the time since boot, so that a jump of the clock neither cuts it off nor lets it run for ever. */
function beganOf(
  host: ContainerHost,
  { beganAt, uptimeMs }: Run,
  { clock }: DriverContext,
): number {
  const ageMs = uptimeMs === undefined ? -1 : host.uptimeMs() - uptimeMs;
  return ageMs < 0 ? beganAt : Math.round(clock.now() - ageMs);
}

/**
 * What an engine says of a container whose end it has not seen, such as when it or the host was away. The first one is also
 * that of a program which somebody else has killed: cut off, too.
 */
const STATUSES_UNSEEN: readonly number[] = [137, 255];

function endFound(
  copy: Copy | undefined,
  lines: readonly string[],
  { clock }: DriverContext,
): FoundEnd {
  const { exit } = copy ?? {};
  const isSeen = exit !== undefined && !STATUSES_UNSEEN.includes(exit.code);
  const unseen = `was killed, or its end not seen by the engine (status ${exit?.code})`;
  const lost = copy === undefined ? "its container is gone" : unseen;
  return {
    at: exit?.at ?? clock.now(),
    status: isSeen ? exit.code : undefined,
    wantOfMemory: exit?.wasKilledForMemory ? "its memory limit" : undefined,
    ...{ lost, said: messageIn(lines) },
  };
}

/** Never rejects: where the engine goes away looks tell. */
async function endOf(
  { dock }: ContainerHost,
  { id, handle }: Copy,
  stop: AbortSignal,
): Promise<unknown> {
  const options = { condition: "not-running", abortSignal: stop } as const;
  const waited = dock.ask(
    handle,
    stop,
    (docker) => docker.getContainer(id).wait(options),
    "follow",
  );
  return await waited.catch(() => new Promise(() => undefined));
}

function outputsFolder(runDir: string): string {
  return join(runDir, "outputs");
}

async function beginRun(
  host: ContainerHost,
  job: Job,
  { wanted, spec, part, run }: Begin,
  launched: (known: Pick<Run, "uptimeMs">) => void,
  context: DriverContext,
): Promise<void> {
  if (spec.runsAs !== "container") return;
  const handle = runHandle(job.handle, run.number);
  // What an earlier start under this number left was never started, unless its order arrives late.
  const left = await findCopy(host, job.instance, handle, context);
  if (left !== undefined && !(await removeUnstarted(host, left, context))) {
    launched({ uptimeMs: host.uptimeMs() });
    return;
  }
  const runDir = jobDir(context, job.instance, handle);
  mkdirSync(runDir, { recursive: true, mode: 0o700 });
  const gives = part === "run" && Object.keys(spec.outputs).length > 0;
  const making = {
    wanted: marked(wanted, job),
    spec: containerSpec(spec, part),
    ...{ handle, restarts: run.try - 1, ports: {} },
    variables: variablesOf(run, gives ? outputsPath(OUTPUTS_PATH) : undefined),
    ...(gives && { outputs: makeOutputs(runDir) }),
  };
  const copy = await makeContainer(host, making, context);
  await holdImage(
    host,
    copy.image,
    imageHolder(context.stateDir, job.instance, job.handle),
    context,
  );
  launched({ uptimeMs: host.uptimeMs() });
  await launchContainer(host, making, copy, context);
  context.log.debug({ job: handle, container: copy.id, try: run.try }, "job begun");
}

/** Whether it is gone: the engine keeps one that runs. */
async function removeUnstarted(
  host: ContainerHost,
  copy: Copy,
  context: DriverContext,
): Promise<boolean> {
  try {
    await host.dock.ask(copy.handle, context.signal, (docker) =>
      docker.getContainer(copy.id).remove({ force: false, v: true }),
    );
  } catch (error) {
    if (!isGone(error)) {
      const now = await findCopy(host, copy.key.instanceId, copy.handle, context);
      if (now !== undefined && now.state !== "created") return false;
      throw error;
    }
  }
  await removeCopy(host, copy, context);
  return true;
}

/** Runs of a schedule are of the generation that armed it. */
function marked(wanted: Wanted, { digest, generation }: Job): Wanted {
  return { ...wanted, digest, generation: generationOf(generation) };
}

/** Whoever is in the container may write; of the host nobody passes the folder above. */
function makeOutputs(runDir: string): string {
  const folder = outputsFolder(runDir);
  mkdirSync(folder, { recursive: true });
  chmodSync(folder, 0o777);
  return folder;
}

async function endRuns(
  host: ContainerHost,
  { instance, handle, stop }: Named,
  context: DriverContext,
): Promise<readonly Copy[]> {
  const found = await findCopies(host, context, instance);
  const copies = found.filter((copy) => jobHandleOf(copy.handle) === handle);
  for (const copy of copies) await endCopy(host, copy, context, stop);
  return copies;
}

async function forgetRuns(
  host: ContainerHost,
  job: Named,
  context: DriverContext,
): Promise<number> {
  const copies = await endRuns(host, job, context);
  for (const copy of copies) await removeCopy(host, copy, context);
  const holder = imageHolder(context.stateDir, job.instance, job.handle);
  await letGoOfImages(host, holder, context);
  await leaveInstance(host, job.instance, context);
  return copies.length;
}

async function dropRuns(
  host: ContainerHost,
  instanceId: string,
  context: DriverContext,
): Promise<void> {
  const copies = await findCopies(host, context, instanceId);
  await Promise.all(
    copies.map((copy) => {
      const job = readJob(jobDir(context, instanceId, jobHandleOf(copy.handle)));
      return endCopy(host, copy, context, job?.stop ?? STOP_UNKNOWN);
    }),
  );
  await Promise.all(copies.map((copy) => removeCopy(host, copy, context)));
  await letGoOfImages(host, imageHolder(context.stateDir, instanceId), context);
  await leaveInstance(host, instanceId, context);
  if (copies.length > 0) removeInstanceGiven(host, instanceId, context);
}

/** Runs that have ended are kept for a while, as on the host. */
async function readAll(
  host: ContainerHost,
  context: DriverContext,
): Promise<readonly DriverReading[]> {
  const now = context.clock.now();
  const running: DriverReading[] = [];
  for (const copy of await findCopies(host, context)) {
    const { key, handle, exit } = copy;
    const meter = isLiving(copy) ? await sampleMeter(host, copy, context) : undefined;
    if (meter !== undefined) running.push(...readingsOf(copy, meter, now));
    if (exit !== undefined) endMeter(copy, exit.at, context);
    tendLogs(context.directories(key.instanceId), handle, context);
    const job = readJob(jobDir(context, key.instanceId, jobHandleOf(handle)));
    if (isLiving(copy) || !isLongOver(job, countOf(handle), exit?.at, now)) continue;
    await removeCopy(host, copy, context);
    await leaveInstance(host, key.instanceId, context);
  }
  return running;
}
