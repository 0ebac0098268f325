/** The facts about an instance that people and the hub are told, each with a reason and one line. Pure. */
import { DriftPolicy } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { formatGeneration, type Generation } from "@holdfast/shared/generation.ts";
import type { Refusal } from "../store/assignments.ts";
import type { AttemptRecord } from "../store/attempts.ts";
import type { Hold } from "./decide.ts";
import { type DriftView, driftText, openFindings } from "./drift.ts";
import type { KeptView } from "./kept.ts";
import type { Finalizer } from "./removal.ts";
import type { ResourceView, ServingView } from "./settle.ts";

/** From so many restarts in a row on it is told as a crash loop. */
export const CRASH_LOOP_RESTARTS_MIN = 3;

/** Resources of an attempt under way that are told of; the others follow from these. */
const DOING_SHOWN_MAX = 5;

export type ConditionType = "Ready" | "InSync" | "Healthy" | "Allowed" | "Drifted" | "Metered";
export type Fact = Readonly<{
  type: ConditionType;
  status: "TRUE" | "FALSE" | "UNKNOWN";
  reason: string;
  message: string;
}>;

export type InstanceView = Readonly<{
  wanted: Readonly<{ generation: Generation; tombstone: boolean }> | undefined;
  committed: Readonly<{ generation: Generation; isRunning: boolean }> | undefined;
  removed: boolean;
  attempt: AttemptRecord | undefined;
  /** What its resources do or wait for at the moment, one line each. */
  doing: readonly string[];
  /** It goes on where an agent that ended had left it. */
  isResumed: boolean;
  /** Those before it, newest first. */
  past: readonly AttemptRecord[];
  refusal: Refusal | undefined;
  hold: Hold | undefined;
  /** Undefined before the first look. */
  serving: ServingView | undefined;
  /** Undefined before the first look at everything. */
  drift: DriftView | undefined;
  /** How the last window was measured; undefined before the first one ended. */
  measured: Measured | undefined;
  /** What a removal still waits for. */
  finalizers: readonly Finalizer[];
  /** Data that nothing uses any more. */
  kept: readonly KeptView[];
  /** What it takes from other instances is not any more what it was committed with. */
  isOutdated: boolean;
}>;

/** `trouble` says which meter could not be read, and why. */
export type Measured = Readonly<{ trouble: string | undefined }>;

export function conditionsOf(view: InstanceView): readonly Fact[] {
  const facts = [readyOf, inSyncOf, healthyOf, allowedOf, driftedOf, meteredOf];
  return facts.map((factOf) => factOf(view));
}

function readyOf({ wanted, removed, committed, serving }: InstanceView): Fact {
  const fact = (status: Fact["status"], reason: string, message: string): Fact => ({
    type: "Ready",
    status,
    reason,
    message,
  });
  if (removed) return fact("FALSE", "REMOVED", "the instance was removed; its data is kept");
  if (wanted?.tombstone) return fact("FALSE", "REMOVING", "it is being removed; its data is kept");
  if (committed === undefined) return fact("FALSE", "NOT_INSTALLED", "no generation serves yet");
  if (!committed.isRunning) return fact("FALSE", "STOPPED", "it is to be stopped");
  if (serving === undefined) return fact("UNKNOWN", "NOT_LOOKED", "no look was taken yet");
  const unknown = serving.resources.find(({ phase }) => phase === "unknown");
  if (unknown !== undefined) return fact("UNKNOWN", "NOT_KNOWN", line(unknown));
  const failed = serving.resources.find(({ phase }) => phase === "failed");
  if (failed !== undefined) {
    const isLoop = failed.restarts >= CRASH_LOOP_RESTARTS_MIN;
    if (!isLoop) return fact("FALSE", "RESOURCE_FAILED", line(failed));
    return fact("FALSE", "CRASH_LOOP", `${line(failed)}${againAt(serving)}`);
  }
  const missing = serving.resources.find(({ phase }) => phase !== "ready");
  if (missing === undefined) {
    const { length } = serving.resources;
    const all = length === 1 ? "its resource is ready" : `all ${length} are ready`;
    return fact("TRUE", "READY", [all, ...caveatsOf(serving)].join("; "));
  }
  const reason = missing.phase === "stopped" ? "RESOURCE_DOWN" : "RESOURCE_STARTING";
  return fact("FALSE", reason, line(missing));
}

function inSyncOf(view: InstanceView): Fact {
  const { wanted, committed, removed, attempt, refusal, hold, isOutdated } = view;
  const fact = (status: Fact["status"], reason: string, message: string): Fact => ({
    type: "InSync",
    status,
    reason,
    message,
  });
  // What is older than what is held takes nothing away from it; it is told as the last attempt.
  if (refusal !== undefined && !refusal.reason.endsWith("_OLD")) {
    return fact("FALSE", "STATE_REFUSED", `${refusal.reason}: ${refusal.message}`);
  }
  if (wanted === undefined) return fact("UNKNOWN", "NO_ASSIGNMENT", "nothing is assigned");
  const generation = formatGeneration(wanted.generation);
  if (wanted.tombstone) {
    if (removed) return fact("TRUE", "REMOVED", `removed as generation ${generation} says`);
    return fact("FALSE", hold?.reason ?? "REMOVING", hold?.message ?? "it is being removed");
  }
  const isCommitted =
    committed !== undefined && formatGeneration(committed.generation) === generation;
  if (isCommitted && !isOutdated) {
    return fact("TRUE", "COMMITTED", `generation ${generation} serves`);
  }
  if (hold !== undefined) return fact("FALSE", hold.reason, hold.message);
  if (isCommitted && attempt?.state === "COMMITTED") {
    const message = "what it takes from another instance has changed; an attempt follows";
    return fact("FALSE", "DEPENDENCY_CHANGED", message);
  }
  if (attempt === undefined || formatGeneration(attempt.generation) !== generation) {
    return fact("FALSE", "PENDING", `generation ${generation} is accepted, no attempt began yet`);
  }
  if (attempt.phase !== "ENDED") {
    const what = attempt.phase === "UNDOING" ? "is being undone" : "is under way";
    const message = `the attempt at ${generation} ${what}${resumedText(view)}${doingText(view)}`;
    return fact("FALSE", `ATTEMPT_${attempt.phase}`, message);
  }
  return fact("FALSE", attempt.reason, attempt.message);
}

function resumedText({ isResumed }: InstanceView): string {
  return isResumed ? ", gone on with from its journal" : "";
}

function doingText({ doing }: InstanceView): string {
  if (doing.length === 0) return "";
  const more = doing.length - DOING_SHOWN_MAX;
  const rest = more > 0 ? `; and ${more} more` : "";
  return `: ${doing.slice(0, DOING_SHOWN_MAX).join("; ")}${rest}`;
}

function healthyOf({ wanted, committed, removed, serving }: InstanceView): Fact {
  const fact = (status: Fact["status"], reason: string, message: string): Fact => ({
    type: "Healthy",
    status,
    reason,
    message,
  });
  if (removed || wanted?.tombstone || committed?.isRunning !== true) {
    return fact("UNKNOWN", "NOT_RUNNING", "nothing runs that could be healthy");
  }
  if (serving === undefined) return fact("UNKNOWN", "NOT_LOOKED", "no look was taken yet");
  if (serving.trouble !== "") return fact("FALSE", "REPAIR_FAILED", serving.trouble);
  const dead = serving.resources.find(({ alive }) => !alive);
  if (dead !== undefined) return fact("FALSE", "NOT_ALIVE", line(dead));
  const unknown = serving.resources.find(({ phase }) => phase === "unknown");
  if (unknown !== undefined) return fact("UNKNOWN", "NOT_KNOWN", line(unknown));
  const down = serving.resources.find(({ phase }) => phase === "failed" || phase === "stopped");
  if (down !== undefined) return fact("FALSE", "RESOURCE_DOWN", line(down));
  return fact("TRUE", "HEALTHY", "every liveness check passes");
}

function allowedOf({ hold }: InstanceView): Fact {
  const isConsent = hold?.reason === "CONSENT_HELD" || hold?.reason === "CONSENT_VETOED";
  if (!isConsent || hold === undefined) {
    return { type: "Allowed", status: "TRUE", reason: "ALLOWED", message: "no rule holds it" };
  }
  return { type: "Allowed", status: "FALSE", reason: hold.reason, message: hold.message };
}

function meteredOf({ wanted, committed, removed, measured }: InstanceView): Fact {
  const fact = (status: Fact["status"], reason: string, message: string): Fact => ({
    type: "Metered",
    status,
    reason,
    message,
  });
  if (removed || wanted?.tombstone || committed?.isRunning !== true) {
    return fact("UNKNOWN", "NOT_RUNNING", "nothing runs that could be measured");
  }
  if (measured === undefined) {
    return fact("UNKNOWN", "NOT_MEASURED", "the first window has not ended yet");
  }
  const { trouble } = measured;
  return trouble === undefined
    ? fact("TRUE", "MEASURED", "every meter was read at the end of the last window")
    : fact("FALSE", "METER_FAILED", trouble);
}

function driftedOf({ committed, serving, drift }: InstanceView): Fact {
  const fact = (status: Fact["status"], reason: string, message: string): Fact => ({
    type: "Drifted",
    status,
    reason,
    message,
  });
  if (committed === undefined || serving === undefined) {
    return fact("UNKNOWN", "NOT_LOOKED", "nothing is committed or no look was taken yet");
  }
  if (serving.resources.some(({ phase }) => phase === "unknown")) {
    return fact("UNKNOWN", "NOT_KNOWN", "what is there could not be looked at");
  }
  const [repair] = serving.repairs;
  if (repair !== undefined) return fact("TRUE", "REPAIRING", repair);
  const { findings = [], leftOut = 0, note = "", policy } = drift ?? {};
  const open = openFindings(drift);
  if (open.length > 0) {
    const reason = policy === DriftPolicy.HOLD ? "DRIFT_HELD" : "DRIFTED";
    return fact("TRUE", reason, [driftText(open, leftOut), note].filter(Boolean).join("; "));
  }
  const { strays } = serving;
  if (strays.length > 0) {
    return fact("TRUE", "STRAYS", `${strays.length} copies that nothing explains: ${strays[0]}`);
  }
  if (findings.length > 0) {
    const what = driftText(findings, leftOut);
    return fact("FALSE", "ADOPTED", `accepted until it changes again: ${what}`);
  }
  return fact("FALSE", "AS_COMMITTED", "what runs is what was committed");
}

/** A limit that does not apply takes nothing away from readiness, and is never passed over in silence. */
function caveatsOf({ resources }: ServingView): readonly string[] {
  return resources.flatMap(({ id, caveat }) => (caveat === undefined ? [] : [`${id}: ${caveat}`]));
}

/** A moment rather than a time to go, so that the status does not change with every look. */
function againAt({ nextAt }: ServingView): string {
  return nextAt === undefined ? "" : `; started again at ${new Date(nextAt).toISOString()}`;
}

function line({ id, phase, message, restarts }: ResourceView): string {
  const what = restarts === 0 ? phase : `${phase} after ${restarts} restarts`;
  return message === "" ? `${id}: ${what}` : `${id}: ${what}: ${message}`;
}
