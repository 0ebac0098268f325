/**
 * Whether a copy is ready and alive, by its probes. The count of failed liveness probes is kept in the copy's run
 * directory, so that it goes on in the next life of the agent; it begins once the copy was ready, since until then the
 * readiness deadline judges it.
 */
import type { ReadinessProbe } from "@holdfast/shared/blueprint/kinds/process-probes.ts";
import { causeChain } from "@holdfast/shared/fault.ts";
import type { Answer } from "../ask.ts";
import type { DriverContext, Health, Live, Wanted } from "../driver.ts";
import { findCopy, inspect } from "../engine/copies.ts";
import { logFolders } from "../engine/followers.ts";
import type { ContainerHost } from "../engine/host.ts";
import { type HealthNote, writeHealth } from "../engine/notes.ts";
import { droppedIn } from "../logs.ts";
import { requestsLeftOut } from "./drift.ts";
import { describeExit } from "./live.ts";
import { type Probed, probe } from "./probe.ts";

const RUNS: Answer = { ok: true, message: "running; it declares no readiness probe" };
const DISK_CAVEAT = "the disk is nearly full: old output is dropped early";

export async function healthOf(
  host: ContainerHost,
  live: Live,
  wanted: Wanted,
  context: DriverContext,
): Promise<Health> {
  const copy = await findCopy(host, live.key.instanceId, live.handle, context);
  if (copy === undefined)
    return { state: "failed", alive: false, message: "nothing is left of it" };
  if (copy.state === "created" && live.phase === "starting") {
    return { state: "starting", alive: true, message: "starting" };
  }
  if (copy.state === "restarting") {
    return { state: "starting", alive: true, message: live.message };
  }
  const inspected = await inspect(host, copy.id, copy.handle, context);
  if (inspected === undefined || !inspected.State.Running) {
    return { state: "failed", alive: false, message: await describeExit(host, copy, context) };
  }
  const probed: Probed = { copy, inspected, spec: host.specs.of(wanted.spec) };
  const { note, ready } = await ask(host, probed, context);
  keep(copy.runDir, copy.health, note, context);
  const began = Date.parse(inspected.State.StartedAt);
  const judged = verdict(note, ready, {
    ageMs: context.clock.now() - began,
    deadlineMs: probed.spec.readiness?.deadlineMs ?? 0,
  });
  const isPressed = droppedIn(logFolders(copy.key, context).logs).isPressed;
  const caveat = isPressed ? DISK_CAVEAT : requestsLeftOut(inspected, probed.spec);
  return caveat === undefined ? judged : { ...judged, caveat };
}

async function ask(
  host: ContainerHost,
  probed: Probed,
  context: DriverContext,
): Promise<Readonly<{ note: HealthNote; ready: Answer }>> {
  const { copy, spec } = probed;
  const { readiness, liveness } = spec;
  const now = host.uptimeMs();
  const ready = await askReadiness(host, readiness, probed, now, context);
  const wasReady = copy.health.wasReady || ready.ok;
  const known = { ...copy.health, wasReady };
  const { livenessUptimeMs } = host.asked.of(copy.runDir);
  const isDue = wasReady && now - livenessUptimeMs >= (liveness?.intervalMs ?? 0);
  if (liveness === undefined || !isDue) return { note: known, ready };
  const answer = await probe(host, liveness, probed, context);
  host.asked.note(copy.runDir, { ...host.asked.of(copy.runDir), livenessUptimeMs: now });
  const failures = answer.ok ? 0 : known.failures + 1;
  return { note: { ...known, failures, failing: failures >= liveness.failures }, ready };
}

/** A probe by a program costs a process each time, so between two of its intervals the last answer stands. */
async function askReadiness(
  host: ContainerHost,
  readiness: ReadinessProbe | undefined,
  probed: Probed,
  now: number,
  context: DriverContext,
): Promise<Answer> {
  if (readiness === undefined) return RUNS;
  if (readiness.exec === undefined) return await probe(host, readiness, probed, context);
  const asked = host.asked.of(probed.copy.runDir);
  const last = asked.readiness;
  if (last !== undefined && now - last.uptimeMs < readiness.intervalMs) return last.answer;
  const answer = await probe(host, readiness, probed, context);
  host.asked.note(probed.copy.runDir, { ...asked, readiness: { answer, uptimeMs: now } });
  return answer;
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

function keep(runDir: string, before: HealthNote, after: HealthNote, context: DriverContext): void {
  if (JSON.stringify(after) === JSON.stringify(before)) return;
  try {
    writeHealth(runDir, after);
  } catch (error) {
    context.log.warn({ runDir, error: causeChain(error) }, "could not keep its health");
  }
}
