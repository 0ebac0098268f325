/**
 * How far an instance is on its way to what was asked for. Pure. Ready may still be the previous generation's
 * doing, so the generation that serves is asked too.
 */
import type { JsonValue } from "@bufbuild/protobuf";
import { compareGenerations, type Generation } from "@holdfast/shared/generation.ts";
import { conditionsOf } from "./conditions.ts";
import { at, generationText, textAt } from "./format.ts";
import type { ObjectView } from "./object-calls.ts";

export type Progress = Readonly<{
  state: "done" | "waiting" | "rolledBack" | "partial" | "refused" | "held";
  /** One line for people. */
  why: string;
}>;

export function generationAt(view: ObjectView, path: string): Generation {
  const value = at(view, path);
  const part = (name: string) => BigInt(String(at(value, name) ?? 0));
  return { incarnation: part("incarnation"), number: part("number") };
}

/** Of the generation that the object wants now. */
export function judgeProgress(view: ObjectView): Progress {
  const wanted = generationAt(view, "status.generation");
  const committed = generationAt(view, "status.committedGeneration");
  const isStopped = textAt(view, "spec.runState") === "RUN_STATE_STOPPED";
  const ready = conditionsOf(view).find(({ type }) => type === "Ready");
  if (wanted.number > 0n && compareGenerations(committed, wanted) >= 0) {
    if (isStopped || ready?.status === "True") return { state: "done", why: "it serves" };
    return { state: "waiting", why: ready?.message || "committed, not ready yet" };
  }
  return judgeAttempt(view, wanted);
}

function judgeAttempt(view: ObjectView, wanted: Generation): Progress {
  const attempt = at(view, "status.attempt");
  const isOfWanted =
    attempt !== undefined &&
    compareGenerations(generationAt(view, "status.attempt.generation"), wanted) >= 0;
  const allowed = conditionsOf(view).find(({ type }) => type === "Allowed");
  if (!isOfWanted) {
    const connected = conditionsOf(view).find(({ type }) => type === "Connected");
    if (connected?.status === "False") return { state: "waiting", why: connected.message };
    return { state: "waiting", why: "the agent has not begun it yet" };
  }
  const why = attemptWhy(attempt);
  switch (textAt(attempt, "state")) {
    case "ATTEMPT_STATE_RETURNED":
      return { state: "rolledBack", why };
    case "ATTEMPT_STATE_PARTIAL":
      return { state: "partial", why };
    case "ATTEMPT_STATE_REFUSED":
      return { state: "refused", why };
    case "ATTEMPT_STATE_HELD":
      return { state: allowed?.status === "False" ? "held" : "waiting", why };
    default:
      return { state: "waiting", why: underWay(view) ?? why };
  }
}

/** What each resource does or waits for. */
function underWay(view: ObjectView): string | undefined {
  const inSync = conditionsOf(view).find(({ type }) => type === "InSync");
  return inSync?.reason.startsWith("ATTEMPT_") ? inSync.message : undefined;
}

function attemptWhy(attempt: JsonValue): string {
  const reason = textAt(attempt, "reason");
  const message = textAt(attempt, "message");
  const generation = generationText(at(attempt, "generation"));
  const said = [reason, message].filter((each) => each !== "-").join(": ");
  return said === "" ? `attempt at ${generation} is under way` : said;
}
