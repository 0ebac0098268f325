/**
 * Ends one copy: the spec's signal to its process group, time to finish, then SIGKILL to everything that belongs
 * to it. Nothing is ever signalled whose start time or marks do not match. Gone is success.
 */
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Fault } from "@holdfast/shared/fault.ts";
import { STOP_UNKNOWN } from "../copy-plan.ts";
import type { DriverContext, ResourceKey, StepOutcome } from "../driver.ts";
import { foldersOf } from "../folders.ts";
import { killGroup, removeGroups } from "./cgroup.ts";
import { type Copy, findCopies, findCopy } from "./copies.ts";
import type { ProgramHost } from "./host.ts";
import { endMeter, sampleMeter } from "./meter.ts";
import { type ProcessEntry, readProcess } from "./proc.ts";
import {
  type ProcessIdentity,
  readExit,
  type StopSettings,
  writeExit,
  writeRecord,
} from "./record.ts";
import { removeRemains } from "./remains.ts";

/** How long the kernel may take to end a process after SIGKILL; longer means a stuck disk or mount. */
const KILL_WAIT_MS_MAX = 10_000;
/** How long the last threads of a process that has ended may keep its groups. */
const GROUP_WAIT_MS_MAX = 1_000;
/** Then the processes of the copy are looked for again. */
const KILL_ROUND_MS = 500;
const POLL_MS_FIRST = 10;
const POLL_MS_MAX = 100;

/** An agent that is halted looks for left groups no more: they get the moment that the kernel needs. */
export async function clearAway(
  { record, runDir }: Copy,
  { clock, signal }: DriverContext,
): Promise<void> {
  const deadline = clock.monotonic() + GROUP_WAIT_MS_MAX;
  while (record !== undefined && !removeGroups(record.groups) && clock.monotonic() < deadline) {
    await clock.sleep(POLL_MS_FIRST, signal);
  }
  removeRemains(runDir);
}

/** Of a start that never came to a process, at most a directory is left. */
export function removeRest(key: ResourceKey, handle: string, context: DriverContext): StepOutcome {
  removeRemains(join(context.directories(key.instanceId).run, handle));
  return { handle, message: "was gone already" };
}

/** Ends all copies of an instance; its data and its last readings stay. */
export async function dropInstance(
  host: ProgramHost,
  instanceId: string,
  context: DriverContext,
): Promise<void> {
  const copies = await findCopies(host, context);
  const own = copies.filter(({ key }) => key.instanceId === instanceId);
  await Promise.all(own.map((copy) => endCopy(host, copy, context)));
  await Promise.all(own.map((copy) => clearAway(copy, context)));
  const { run, logs } = context.directories(instanceId);
  // Files in run/ are what other drivers noted.
  const folders = [logs, ...foldersOf(run).map((name) => join(run, name))];
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
}

/** Ends what lives of a copy and keeps its last readings; its directory stays. Says how it ended. */
export async function endCopy(
  host: ProgramHost,
  copy: Copy,
  context: DriverContext,
  settings: StopSettings = copy.record?.stop ?? STOP_UNKNOWN,
): Promise<string> {
  if (copy.record !== undefined && copy.members.length > 0) {
    writeRecord(copy.runDir, { ...copy.record, stopping: true });
  }
  const how = await endProcesses(host, copy, settings, context);
  endMeter(copy, copy.exit?.at ?? context.clock.now(), context);
  return how;
}

async function endProcesses(
  host: ProgramHost,
  copy: Copy,
  { signal, graceMs }: StopSettings,
  context: DriverContext,
): Promise<string> {
  if (living(host, copy).length === 0) return "had ended already";
  measure(host, copy);
  signalCopy(host, copy, signal);
  const isDone = await waitForEnd(host, copy, graceMs, context);
  // Looked for again: children may have been born since, and they must not outlive the copy.
  const rest = await findCopy(host, context, copy.key, copy.handle);
  if (rest === undefined || rest.members.length === 0) return `ended after ${signal}`;
  const left = await killAll(host, rest, context);
  const who = isDone ? "a child of it" : "it";
  if (left.length === 0) return `${who} did not end within ${graceMs} ms after ${signal}; killed`;
  throw new Fault(
    "DEADLINE_EXCEEDED",
    "PROCESS_WILL_NOT_END",
    `${copy.handle}: pid ${left.join(", ")} still there ${KILL_WAIT_MS_MAX} ms after SIGKILL; the kernel waits for a device`,
  );
}

/** Until nobody is left: who forks faster than we look has children after each round. The pids that stay. */
async function killAll(
  host: ProgramHost,
  copy: Copy,
  context: DriverContext,
): Promise<readonly number[]> {
  const deadline = context.clock.monotonic() + KILL_WAIT_MS_MAX;
  for (let rest: Copy | undefined = copy; ; ) {
    if (rest === undefined || rest.members.length === 0) return [];
    const left = deadline - context.clock.monotonic();
    if (left <= 0) return rest.members.map(({ pid }) => pid);
    killGroup(rest.record?.groups ?? {});
    signalCopy(host, rest, "SIGKILL");
    await waitForEnd(host, rest, Math.min(left, KILL_ROUND_MS), context);
    rest = await findCopy(host, context, copy.key, copy.handle);
  }
}

/** Whether all of it ended in time. Measures as it goes, since nothing can be read afterwards. */
async function waitForEnd(
  host: ProgramHost,
  copy: Copy,
  msMax: number,
  context: DriverContext,
): Promise<boolean> {
  const deadline = context.clock.monotonic() + msMax;
  for (let waitMs = POLL_MS_FIRST; ; waitMs = Math.min(waitMs * 2, POLL_MS_MAX)) {
    if (living(host, copy).length === 0) return true;
    const left = deadline - context.clock.monotonic();
    if (left <= 0) return false;
    await pause(Math.min(waitMs, left), context);
    measure(host, copy);
  }
}

function measure(host: ProgramHost, copy: Copy): void {
  if (copy.running && existsSync(copy.runDir)) sampleMeter(host.procDir, copy);
}

/** Members as first seen that are still the same processes. */
function living(host: ProgramHost, copy: Copy): readonly ProcessEntry[] {
  return copy.members.filter(({ pid, startTicks }) => {
    const entry = readProcess(host.procDir, pid);
    return entry?.startTicks === startTicks && !entry.ended;
  });
}

/** To the group, which also reaches children born since, and to members that left the group. */
export function signalCopy(host: ProgramHost, copy: Copy, signal: string): void {
  const members = living(host, copy);
  const group = copy.process?.pid;
  const isGroup = members.some((member) => member.group === group);
  if (group !== undefined && isGroup) send(host, -group, signal);
  for (const { pid, group: its } of members) {
    if (!isGroup || its !== group) send(host, pid, signal);
  }
}

/** Whether the process was still the one that was seen, and was told. */
export function signalProcess(
  host: ProgramHost,
  { pid, startTicks }: Pick<ProcessIdentity, "pid" | "startTicks">,
  signal: string,
): boolean {
  const entry = readProcess(host.procDir, pid);
  if (entry?.startTicks !== startTicks || entry.ended) return false;
  send(host, pid, signal);
  return true;
}

function send(host: ProgramHost, pid: number, signal: string): void {
  try {
    host.kill(pid, signal);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ESRCH") return;
    throw new Fault(
      "FAILED_PRECONDITION",
      "SIGNAL_REFUSED_BY_HOST",
      `pid ${Math.abs(pid)} cannot be sent ${signal}: ${code}; it runs as another user`,
      { cause: error },
    );
  }
}

/** Waits unless the agent is told to stop; then the step is left to be run again. */
export async function pause(ms: number, { clock, signal }: DriverContext): Promise<void> {
  if (ms > 0) await clock.sleep(ms, signal);
  if (signal.aborted) throw new Fault("CANCELLED", "AGENT_STOPPING", "the agent is stopping");
}

export function noteExit(copy: Copy, context: DriverContext): void {
  if (!existsSync(copy.runDir) || readExit(copy.runDir) !== undefined) return;
  writeExit(copy.runDir, { at: context.clock.now(), code: undefined, signal: undefined });
}
