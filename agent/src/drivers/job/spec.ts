/** A job's spec as the driver uses it, and how long its steps may take; the pure kind schema judges it. */
import { type JobSpec, readJobSpec } from "@holdfast/shared/blueprint/kinds/job.ts";
import { openAmounts } from "@holdfast/shared/blueprint/kinds/process-limits.ts";
import { invalid } from "@holdfast/shared/fault.ts";
import type { JsonObject, StepClass } from "../driver.ts";

export type { JobSpec };

export const DRIVER_KIND = "job";

/** Opening a log, writing secrets and records, a fork; what takes longer is a stuck disk. */
export const START_MS_MAX = 60_000;
/** Beyond its grace an end looks again, kills, and waits for the kernel. */
const END_MORE_MS = 30_000;

/** Also of a spec that still has references in it. Throws INVALID_ARGUMENT `SPEC_INVALID`. */
export function specOf(spec: JsonObject): JobSpec {
  return readJobSpec(spec, "spec");
}

/** Of a spec that is to run: a limit that is not known would be none. Throws INVALID_ARGUMENT `SPEC_INVALID`. */
export function renderedSpecOf(spec: JsonObject): JobSpec {
  const message = "an expression that was not rendered; allowed: a whole number";
  const violations = openAmounts(spec).map((name) => ({ path: `spec.${name}`, message }));
  if (violations.length > 0) throw invalid("SPEC_INVALID", violations);
  return specOf(spec);
}

const CLASSES = {
  none: "reversible",
  undone: "compensable",
  irreversible: "irreversible",
} as const satisfies Record<JobSpec["effect"], StepClass>;

export function classOf({ effect }: Pick<JobSpec, "effect">): StepClass {
  return CLASSES[effect];
}

export function endMsMax({ stop }: Pick<JobSpec, "stop">): number {
  return stop.graceMs + END_MORE_MS;
}

/** All tries with the pauses between them. */
export function runMsMax(spec: JobSpec): number {
  const tryMs = START_MS_MAX + spec.deadlineMs + endMsMax(spec);
  const pauses = Array.from({ length: spec.retries }, (_, i) => pauseMs(spec, i + 1));
  return tryMs * (spec.retries + 1) + pauses.reduce((sum, ms) => sum + ms, 0);
}

/** What still runs is ended first. */
export function undoMsMax(spec: JobSpec): number {
  const { undo } = spec;
  return endMsMax(spec) * 2 + (undo === undefined ? 0 : START_MS_MAX + undo.deadlineMs);
}

/** Before the try that follows this one. */
export function pauseMs({ backoff }: Pick<JobSpec, "backoff">, failedTry: number): number {
  return Math.min(backoff.capMs, backoff.baseMs * 2 ** (failedTry - 1));
}
