/**
 * Whether a copy is ready and alive, by its probes and by those of its limits that the agent has to watch. The count
 * of failed liveness probes is kept in the copy's run directory, so that it goes on in the next life of the agent; it
 * begins once the copy was ready, since until then the readiness deadline judges it.
 */
import type {
  ProbeTarget,
  ReadinessProbe,
} from "@holdfast/shared/blueprint/kinds/process-probes.ts";
import { causeChain } from "@holdfast/shared/fault.ts";
import type { Answer } from "../ask.ts";
import type { DriverContext, Health, Live, Wanted } from "../driver.ts";
import { type Copy, findCopy, findRunning } from "../host-process/copies.ts";
import { describeExit } from "../host-process/ends.ts";
import { caveatOf } from "../host-process/limits.ts";
import {
  describeProcess,
  listenerOf,
  listensOn,
  ticksToMs,
  uptimeMs,
} from "../host-process/proc.ts";
import { type HealthNote, writeHealth } from "../host-process/record.ts";
import { overuseOf } from "../host-process/watch.ts";
import { droppedIn, tendLogs } from "../logs.ts";
import type { ProcessHost } from "./host.ts";
import { portOf, probe } from "./probe.ts";

export async function healthOf(
  host: ProcessHost,
  live: Live,
  wanted: Wanted,
  context: DriverContext,
): Promise<Health> {
  const copy = await findRunning(host, context, live.key, live.handle);
  if (copy === undefined)
    return { state: "failed", alive: false, message: "nothing is left of it" };
  const before = copy.health;
  if (before === undefined) {
    host.asked.forget(copy.runDir);
    return ended(copy, live, context);
  }
  const { readiness, liveness, limits } = host.specs.of(wanted.spec);
  const now = uptimeMs(host.procDir);
  const answer = await askReadiness(host, readiness, copy, now, wanted, context);
  const isFirst = answer.ok && !before.wasReady && readiness !== undefined;
  const ready = isFirst ? await confirm(host, copy, readiness, answer, context) : answer;
  const wasReady = before.wasReady || ready.ok;
  const known = { ...before, wasReady };
  const { livenessUptimeMs } = host.asked.of(copy.runDir);
  const isDue = wasReady && now - livenessUptimeMs >= (liveness?.intervalMs ?? 0);
  const probed =
    liveness === undefined || !isDue
      ? known
      : judge(known, await probe(host, liveness, copy, wanted, context), liveness);
  if (liveness !== undefined && isDue) {
    host.asked.note(copy.runDir, { ...host.asked.of(copy.runDir), livenessUptimeMs: now });
  }
  const overuse = await overuseOf(host, copy, limits, context);
  const after = overuse === "" ? probed : { ...probed, failing: true, overuse };
  keep(copy, before, after, context);
  const ageMs = now - ticksToMs(copy.process?.startTicks ?? 0);
  const judged = verdict(after, ready, { ageMs, deadlineMs: readiness?.deadlineMs ?? 0 });
  const folders = context.directories(copy.key.instanceId);
  tendLogs(folders, copy.handle, context);
  const isPressed = droppedIn(folders.logs).isPressed;
  const caveats = [caveatOf(copy.record?.kept ?? []), isPressed ? DISK_CAVEAT : ""];
  const caveat = caveats.filter((each) => each !== "").join("; ");
  return caveat === "" ? judged : { ...judged, caveat };
}

/**
 * A probe by a program starts a process, so between two of its intervals the last answer stands. Others cost next to
 * nothing and are asked each time.
 */
async function askReadiness(
  host: ProcessHost,
  readiness: ReadinessProbe | undefined,
  copy: Copy,
  now: number,
  wanted: Wanted,
  context: DriverContext,
): Promise<Answer> {
  if (readiness === undefined) return RUNS;
  if (readiness.exec === undefined) return await probe(host, readiness, copy, wanted, context);
  const asked = host.asked.of(copy.runDir);
  const last = asked.readiness;
  if (last !== undefined && now - last.uptimeMs < readiness.intervalMs) return last.answer;
  const answer = await probe(host, readiness, copy, wanted, context);
  host.asked.note(copy.runDir, { ...asked, readiness: { answer, uptimeMs: now } });
  return answer;
}

const DISK_CAVEAT = "the disk is nearly full: old output is dropped early";
const RUNS: Answer = { ok: true, message: "running; it declares no readiness probe" };

function ended(copy: Copy, live: Live, context: DriverContext): Health {
  const isBegun = live.phase === "starting" && copy.process === undefined;
  if (isBegun) return { state: "starting", alive: true, message: "starting" };
  const exit = copy.exit ?? { at: 0, code: undefined, signal: undefined };
  return { state: "failed", alive: false, message: describeExit(copy, exit, context) };
}

/**
 * Whether the first good answer came from this copy. Between the choice of a port and the program's listening
 * somebody else may have taken it, and would answer in its name.
 */
async function confirm(
  host: ProcessHost,
  copy: Copy,
  target: ProbeTarget,
  answer: Answer,
  context: DriverContext,
): Promise<Answer> {
  const { procDir } = host;
  const port = portOf(target, copy);
  if (port === undefined) return answer;
  if (copy.process === undefined || listensOn(procDir, copy.process.pid, port)) return answer;
  const pid = await listenerOf(procDir, port);
  const whole = await findCopy(host, context, copy.key, copy.handle);
  // Where the listener cannot be seen there is no reason to doubt it.
  if (pid === undefined || whole?.members.some((member) => member.pid === pid)) return answer;
  const message = `port ${port} is held by ${describeProcess(procDir, pid)}, which is not of this copy`;
  return { ok: false, message };
}

function judge(
  before: HealthNote,
  answer: Answer,
  liveness: Readonly<{ failures: number }>,
): HealthNote {
  const failures = answer.ok ? 0 : before.failures + 1;
  return { ...before, failures, failing: failures >= liveness.failures };
}

function verdict(
  note: HealthNote,
  ready: Answer,
  { ageMs, deadlineMs }: Readonly<{ ageMs: number; deadlineMs: number }>,
): Health {
  const alive = !note.failing;
  if (note.overuse !== undefined) return { state: "starting", alive, message: note.overuse };
  if (!alive) {
    const message = `failed its liveness probe ${note.failures} times in a row; ${ready.message}`;
    return { state: ready.ok ? "ready" : "starting", alive, message };
  }
  if (ready.ok) return { state: "ready", alive, message: ready.message };
  if (note.wasReady || ageMs < deadlineMs)
    return { state: "starting", alive, message: ready.message };
  const message = `not ready within ${deadlineMs} ms: ${ready.message}`;
  return { state: "failed", alive, message };
}

function keep(copy: Copy, before: HealthNote, after: HealthNote, context: DriverContext): void {
  if (JSON.stringify(after) === JSON.stringify(before)) return;
  try {
    writeHealth(copy.runDir, after);
  } catch (error) {
    context.log.warn({ copy: copy.handle, error: causeChain(error) }, "could not keep its health");
  }
}
