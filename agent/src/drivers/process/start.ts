/**
 * Starts one copy, at most once per name. States of a start: nothing → record without process (ports chosen) →
 * process with marks → record with process. A crash between any two is mended by running the same order again:
 * a process that carries the marks is taken over, and only if there is none is one started.
 */
import type { ChildProcess } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { causeChain } from "@holdfast/shared/fault.ts";
import { formatGeneration } from "@holdfast/shared/generation.ts";
import { inputOf } from "../copy-input.ts";
import type { StepContext, StepOrder, StepOutcome, Wanted } from "../driver.ts";
import { hold, identityOf, makeRoom, recordOf } from "../host-process/begin.ts";
import { groupName, makeGroups } from "../host-process/cgroup.ts";
import { type Copy, findCopies } from "../host-process/copies.ts";
import { endCopy, pause } from "../host-process/end.ts";
import { launch, launchFault } from "../host-process/launch.ts";
import { beginMeter } from "../host-process/meter.ts";
import {
  type CopyRecord,
  type ProcessIdentity,
  writeExit,
  writeRecord,
} from "../host-process/record.ts";
import { removeRemains } from "../host-process/remains.ts";
import { openLog } from "../logs.ts";
import type { ProcessHost } from "./host.ts";
import { reservePorts } from "./ports.ts";
import { portsOf, renderedSpecOf } from "./spec.ts";

/** From a process's birth as an image of the agent until it runs its own program, on a busy host. */
const MARKS_MS_MAX = 500;

export async function startCopy(
  host: ProcessHost,
  order: StepOrder,
  context: StepContext,
): Promise<StepOutcome> {
  const input = inputOf(order);
  const wanted = await context.wanted(input.digest());
  const handle = input.handle();
  const { instanceId } = wanted.key;
  const copies = await findBegun(host, instanceId, handle, context);
  const mine = copies.filter(({ key }) => key.instanceId === instanceId);
  const replaced = input
    .replaces()
    .flatMap((name) => mine.find((each) => each.handle === name && name !== handle) ?? [])
    .filter(({ running }) => !running);
  // What they left behind may hold a port; their directories go last, since they count the restarts.
  for (const copy of replaced) await endCopy(host, copy, context);
  const begun = mine.find((copy) => copy.handle === handle);
  const start = { wanted, handle, restarts: input.restarts(), copies };
  const outcome =
    begun?.process === undefined
      ? await startNew(host, start, context)
      : await takeOver(host, begun, wanted, context);
  for (const { runDir } of replaced) removeRemains(runDir);
  return outcome;
}

/**
 * All copies. Where an agent was killed in the middle of this start a moment ago, its process may be there and still
 * look like the agent: it is given the time to show its marks.
 */
async function findBegun(
  host: ProcessHost,
  instanceId: string,
  handle: string,
  context: StepContext,
): Promise<readonly Copy[]> {
  const copies = await findCopies(host, context);
  const begun = copies.find((copy) => copy.key.instanceId === instanceId && copy.handle === handle);
  if (begun?.record === undefined || begun.process !== undefined) return copies;
  const ageMs = context.clock.now() - begun.record.beganAt;
  if (ageMs < 0 || ageMs >= MARKS_MS_MAX) return copies;
  await pause(MARKS_MS_MAX - ageMs, context);
  return await findCopies(host, context);
}

/** It was started before; perhaps the record was never finished, and the process not yet confined. */
async function takeOver(
  host: ProcessHost,
  copy: Copy,
  wanted: Wanted,
  context: StepContext,
): Promise<StepOutcome> {
  if (copy.record?.process === undefined) {
    const spec = renderedSpecOf(wanted.spec);
    mkdirSync(copy.runDir, { recursive: true, mode: 0o700 });
    const name = groupName(copy.key.instanceId, copy.handle);
    const made = makeGroups(host, context.stateDir, name, spec);
    const held = await hold(host, made, copy.running ? copy.process?.pid : undefined, spec);
    writeRecord(copy.runDir, recordOf(copy, spec.stop, held, copy.process, copy.startedAt));
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
  const { process, record } = await begin(host, start, runDir, context).catch((error) => {
    // No process came of it, so nothing of it is worth keeping.
    removeRemains(runDir);
    throw error;
  });
  writeRecord(runDir, { ...record, process });
  beginMeter(runDir, process);
  return { handle, outputs: { ports: record.ports }, message: `started as pid ${process.pid}` };
}

async function begin(
  host: ProcessHost,
  { wanted, handle, restarts, copies }: Start,
  runDir: string,
  context: StepContext,
): Promise<Readonly<{ process: ProcessIdentity; record: CopyRecord }>> {
  const spec = renderedSpecOf(wanted.spec);
  const room = makeRoom(host, { wanted, spec, handle, runDir }, context);
  const { program, account, cwd } = room;
  const taken = new Set(copies.flatMap((copy) => Object.values(copy.ports)));
  const { ports, release } = await reservePorts(portsOf(spec), taken, {
    procDir: host.procDir,
    random: context.random,
  });
  const env = room.environment(ports);
  const generation = formatGeneration(wanted.generation);
  const copy = { key: wanted.key, handle, digest: wanted.digest, generation, ports, restarts };
  const record = recordOf(copy, spec.stop, room.held, undefined, context.clock.now());
  writeRecord(runDir, record);
  await release();
  const kept = copies.map((each) => each.handle);
  const { logs } = context.directories(wanted.key.instanceId);
  const log = openLog(logs, wanted.key.resourceId, { handle, kept });
  const { umask } = spec;
  const stdio = ["ignore" as const, log.file, log.file];
  const child = launch(host, { ...program, env, cwd, umask, account, stdio });
  log.close();
  context.log.debug({ copy: handle, pid: child.pid }, "process started");
  const process = identityOf(host, child);
  if (process === undefined) throw await launchFault(host, child, program.file);
  whenEnded(host, { child, process, runDir }, wanted.key.instanceId, context);
  const held = await hold(host, room.held, process.pid, spec);
  return { record: { ...record, kept: held.kept }, process };
}

function whenEnded(
  host: ProcessHost,
  {
    child,
    process,
    runDir,
  }: Readonly<{
    child: ChildProcess;
    process: ProcessIdentity;
    runDir: string;
  }>,
  instanceId: string,
  context: StepContext,
): void {
  host.children.add(child, process, ({ code, signal }) => {
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
