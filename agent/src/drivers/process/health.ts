/**
 * Whether a copy is ready and alive, by its probes on 127.0.0.1. The count of failed liveness probes is kept in
 * the copy's run directory, so that it goes on in the next life of the agent; it begins once the copy was ready,
 * since until then the readiness deadline judges it.
 */
import { request } from "node:http";
import { connect } from "node:net";
import type { ProbeTarget } from "@holdfast/shared/blueprint/kinds/process.ts";
import type { Clock } from "@holdfast/shared/clock.ts";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import type { DriverContext, Health, Live, Wanted } from "../driver.ts";
import { type Copy, findCopy, findRunning } from "./copies.ts";
import type { ProcessHost } from "./host.ts";
import { describeExit } from "./live.ts";
import { LOOPBACK } from "./ports.ts";
import { describeProcess, listenerOf, listensOn, ticksToMs, uptimeMs } from "./proc.ts";
import { type HealthNote, readHealth, writeHealth } from "./record.ts";
import { specOf } from "./spec.ts";

type Answer = Readonly<{ ok: boolean; message: string }>;

export async function healthOf(
  host: ProcessHost,
  live: Live,
  wanted: Wanted,
  context: DriverContext,
): Promise<Health> {
  const copy = await findRunning(host.procDir, context, live.key, live.handle);
  if (copy === undefined)
    return { state: "failed", alive: false, message: "nothing is left of it" };
  if (!copy.running) return ended(copy, live, context);
  const { readiness, liveness } = specOf(wanted.spec);
  const before = readHealth(copy.runDir);
  const now = uptimeMs(host.procDir);
  const answer = readiness === undefined ? RUNS : await probe(readiness, copy, context);
  const isFirst = answer.ok && !before.wasReady && readiness !== undefined;
  const ready = isFirst ? await confirm(host, copy, readiness, answer, context) : answer;
  const wasReady = before.wasReady || ready.ok;
  const isDue = wasReady && now - before.probedUptimeMs >= (liveness?.intervalMs ?? 0);
  const after =
    liveness === undefined || !isDue
      ? { ...before, wasReady }
      : judge({ ...before, wasReady }, await probe(liveness, copy, context), liveness, now);
  keep(copy, before, after, context);
  const ageMs = now - ticksToMs(copy.process?.startTicks ?? 0);
  return verdict(after, ready, { ageMs, deadlineMs: readiness?.deadlineMs ?? 0 });
}

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
  { procDir }: ProcessHost,
  copy: Copy,
  target: ProbeTarget,
  answer: Answer,
  context: DriverContext,
): Promise<Answer> {
  const port = portOf(target, copy) ?? 0;
  if (copy.process === undefined || listensOn(procDir, copy.process.pid, port)) return answer;
  const pid = await listenerOf(procDir, port);
  const whole = await findCopy(procDir, context, copy.key, copy.handle);
  // Where the listener cannot be seen there is no reason to doubt it.
  if (pid === undefined || whole?.members.some((member) => member.pid === pid)) return answer;
  const message = `port ${port} is held by ${describeProcess(procDir, pid)}, which is not of this copy`;
  return { ok: false, message };
}

function portOf({ http, tcp }: ProbeTarget, copy: Copy): number | undefined {
  return copy.ports[http?.port ?? tcp?.port ?? ""];
}

function judge(
  before: HealthNote,
  answer: Answer,
  liveness: Readonly<{ failures: number }>,
  probedUptimeMs: number,
): HealthNote {
  const failures = answer.ok ? 0 : before.failures + 1;
  return { ...before, failures, failing: failures >= liveness.failures, probedUptimeMs };
}

function verdict(
  note: HealthNote,
  ready: Answer,
  { ageMs, deadlineMs }: Readonly<{ ageMs: number; deadlineMs: number }>,
): Health {
  const alive = !note.failing;
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
  const isSame = Object.entries(after).every(
    ([name, value]) => before[name as keyof HealthNote] === value,
  );
  if (isSame) return;
  try {
    writeHealth(copy.runDir, after);
  } catch (error) {
    context.log.warn({ copy: copy.handle, error: causeChain(error) }, "could not keep its health");
  }
}

/** Never throws for what the workload does; an unknown port in the spec counts as a failure. */
async function probe(
  spec: ProbeTarget & Readonly<{ timeoutMs: number }>,
  copy: Copy,
  { clock, signal }: DriverContext,
): Promise<Answer> {
  const port = portOf(spec, copy);
  if (port === undefined) return { ok: false, message: "it has no port of the probe's name" };
  const path = spec.http?.path;
  const target =
    path === undefined ? `tcp ${LOOPBACK}:${port}` : `GET http://${LOOPBACK}:${port}${path}`;
  try {
    const ask = (stop: AbortSignal) =>
      path === undefined ? connects(port, stop) : statusOf(port, path, stop);
    const status = await withDeadline(ask, spec.timeoutMs, clock, signal);
    // Redirects are not followed: they could lead anywhere. That it answers is enough.
    const ok = status === undefined || (status >= 200 && status < 400);
    return { ok, message: status === undefined ? `${target}: accepts` : `${target}: ${status}` };
  } catch (error) {
    if (signal.aborted) throw new Fault("CANCELLED", "AGENT_STOPPING", "the agent is stopping");
    return { ok: false, message: `${target}: ${causeChain(error)}` };
  }
}

async function withDeadline<T>(
  ask: (stop: AbortSignal) => Promise<T>,
  timeoutMs: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<T> {
  const done = new AbortController();
  const late = new AbortController();
  const timer = clock.sleep(timeoutMs, AbortSignal.any([done.signal, signal])).then(() => {
    if (!done.signal.aborted) late.abort(new Error(`no answer within ${timeoutMs} ms`));
  });
  try {
    return await ask(late.signal);
  } finally {
    done.abort();
    await timer;
  }
}

/** The status alone; the body is not read. */
function statusOf(port: number, path: string, stop: AbortSignal): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: LOOPBACK, port, path, method: "GET", agent: false }, (answer) => {
      resolve(answer.statusCode ?? 0);
      asked.destroy();
    });
    asked.once("error", reject);
    stop.addEventListener("abort", () => asked.destroy(stop.reason as Error), { once: true });
    asked.end();
  });
}

function connects(port: number, stop: AbortSignal): Promise<undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: LOOPBACK, port }, () => {
      resolve(undefined);
      socket.destroy();
    });
    socket.once("error", reject);
    stop.addEventListener("abort", () => socket.destroy(stop.reason as Error), { once: true });
  });
}
