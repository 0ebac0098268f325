/**
 * Starts one copy, at most once per name. States of a start: nothing → record without process (ports chosen) →
 * process with marks → record with process. A crash between any two is mended by running the same order again:
 * a process that carries the marks is taken over, and only if there is none is one started.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import { formatGeneration } from "@holdfast/shared/generation.ts";
import type { StepContext, StepOrder, StepOutcome, Wanted } from "../driver.ts";
import { programOf } from "./artefact.ts";
import { type Copy, findCopies } from "./copies.ts";
import { environmentOf } from "./environment.ts";
import type { ProcessHost } from "./host.ts";
import { inputOf } from "./input.ts";
import { openLog } from "./logs.ts";
import { beginMeter } from "./meter.ts";
import { reservePorts } from "./ports.ts";
import { bootId, readProcess } from "./proc.ts";
import { type CopyRecord, type ProcessIdentity, writeExit, writeRecord } from "./record.ts";
import { writeSecrets } from "./secrets.ts";
import { type ProcessSpec, portsOf, specOf } from "./spec.ts";
import { endCopy } from "./stop.ts";

export async function startCopy(
  host: ProcessHost,
  order: StepOrder,
  context: StepContext,
): Promise<StepOutcome> {
  const input = inputOf(order);
  const wanted = await context.wanted(input.digest());
  const handle = input.handle();
  const copies = await findCopies(host.procDir, context);
  const mine = copies.filter(({ key }) => key.instanceId === wanted.key.instanceId);
  const replaced = input
    .replaces()
    .flatMap((name) => mine.find((each) => each.handle === name && name !== handle) ?? [])
    .filter(({ running }) => !running);
  // What they left behind may hold a port; their directories go last, since they count the restarts.
  for (const copy of replaced) await endCopy(host, copy, context);
  const begun = mine.find((copy) => copy.handle === handle);
  const start = { wanted, handle, restarts: input.restarts(), copies };
  const outcome =
    begun?.process === undefined ? await startNew(host, start, context) : takeOver(begun, wanted);
  for (const { runDir } of replaced) rmSync(runDir, { recursive: true, force: true });
  return outcome;
}

/** It was started before; perhaps the record was never finished. */
function takeOver(copy: Copy, wanted: Wanted): StepOutcome {
  if (copy.record?.process === undefined) {
    mkdirSync(copy.runDir, { recursive: true, mode: 0o700 });
    writeRecord(copy.runDir, recordOf(copy, specOf(wanted.spec), copy.process, copy.startedAt));
  }
  const message = copy.running ? "was started before" : "was started before and has ended";
  return { handle: copy.handle, outputs: { ports: copy.ports }, message };
}

type Start = Readonly<{
  wanted: Wanted;
  handle: string;
  restarts: number;
  copies: readonly Copy[];
}>;

async function startNew(
  host: ProcessHost,
  start: Start,
  context: StepContext,
): Promise<StepOutcome> {
  const { wanted, handle } = start;
  const runDir = join(context.directories(wanted.key.instanceId).run, handle);
  const { child, process, record } = await begin(host, start, runDir, context).catch((error) => {
    // No process came of it, so nothing of it is worth keeping.
    rmSync(runDir, { recursive: true, force: true });
    throw error;
  });
  writeRecord(runDir, { ...record, process });
  beginMeter(runDir, process);
  whenEnded(host, child, runDir, wanted.key.instanceId, context);
  return { handle, outputs: { ports: record.ports }, message: `started as pid ${process.pid}` };
}

async function begin(
  host: ProcessHost,
  { wanted, handle, restarts, copies }: Start,
  runDir: string,
  context: StepContext,
): Promise<Readonly<{ child: ChildProcess; process: ProcessIdentity; record: CopyRecord }>> {
  const spec = specOf(wanted.spec);
  const directories = context.directories(wanted.key.instanceId);
  const program = programOf(spec, wanted.artefacts, host.nodePath);
  mkdirSync(runDir, { recursive: true, mode: 0o700 });
  writeSecrets(runDir, wanted, spec);
  const taken = new Set(copies.flatMap((copy) => Object.values(copy.ports)));
  const { ports, release } = await reservePorts(portsOf(spec), taken, {
    procDir: host.procDir,
    random: context.random,
  });
  const env = environmentOf({
    ...{ wanted, spec, handle, runDir, ports, directories },
    stateDir: context.stateDir,
  });
  const generation = formatGeneration(wanted.generation);
  const copy = { key: wanted.key, handle, digest: wanted.digest, generation, ports, restarts };
  const record = recordOf(copy, spec, undefined, context.clock.now());
  writeRecord(runDir, record);
  await release();
  const kept = copies.map((each) => each.handle);
  const log = openLog(directories.logs, wanted.key.resourceId, { handle, kept });
  const child = launch(host, { ...program, env, cwd: runDir, output: log.file });
  log.close();
  context.log.debug({ copy: handle, pid: child.pid }, "process started");
  // Before the event loop turns, a child that has ended at once is still a zombie and so still in /proc.
  return { child, record, process: await identityOf(host, child, program.file) };
}

type LaunchPlan = Readonly<{
  file: string;
  args: readonly string[];
  env: Record<string, string>;
  cwd: string;
  output: number;
}>;

/** In a session of its own, so that neither the agent's end nor its terminal's signals reach it. */
function launch(host: ProcessHost, plan: LaunchPlan): ChildProcess {
  const before = host.umask(0o077);
  try {
    const child = spawn(plan.file, plan.args, {
      cwd: plan.cwd,
      env: plan.env,
      detached: true,
      shell: false,
      stdio: ["ignore", plan.output, plan.output],
    });
    child.unref();
    return child;
  } finally {
    host.umask(before);
  }
}

async function identityOf(
  host: ProcessHost,
  child: ChildProcess,
  file: string,
): Promise<ProcessIdentity> {
  const entry = child.pid === undefined ? undefined : readProcess(host.procDir, child.pid);
  if (entry !== undefined) {
    return { pid: entry.pid, startTicks: entry.startTicks, bootId: bootId(host.procDir) };
  }
  const cause = await new Promise((resolve) => child.once("error", resolve));
  throw new Fault(
    "FAILED_PRECONDITION",
    "PROCESS_NOT_STARTED",
    `could not start ${file}: ${causeChain(cause)}`,
    { cause },
  );
}

function whenEnded(
  host: ProcessHost,
  child: ChildProcess,
  runDir: string,
  instanceId: string,
  context: StepContext,
): void {
  child.once("exit", (code, signal) => {
    try {
      const at = context.clock.now();
      writeExit(runDir, { at, code: code ?? undefined, signal: signal ?? undefined });
    } catch (error) {
      // The usual case is a copy that was stopped: its directory is gone.
      context.log.debug(
        { runDir, error: causeChain(error) },
        "nowhere to note how a process ended",
      );
    }
    host.onChange(instanceId);
  });
}

function recordOf(
  copy: Pick<Copy, "key" | "handle" | "digest" | "generation" | "ports" | "restarts">,
  spec: ProcessSpec,
  process: ProcessIdentity | undefined,
  beganAt: number,
): CopyRecord {
  return {
    instance: copy.key.instanceId,
    resource: copy.key.resourceId,
    handle: copy.handle,
    digest: copy.digest,
    generation: copy.generation,
    ports: copy.ports,
    restarts: copy.restarts,
    stop: { signal: spec.stop.signal, graceMs: spec.stop.graceMs },
    ...{ beganAt, process },
    stopping: false,
  };
}
