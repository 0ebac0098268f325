/** Brings drifted fields of a resource back: asks the customer's rules, then runs the driver's steps, like any repair. */
import { causeChain } from "@holdfast/shared/fault.ts";
import type { Step } from "../drivers/driver.ts";
import { needsPerson } from "./drift.ts";
import type { Compared } from "./find-drift.ts";
import { judgeConsent } from "./plan.ts";
import { bounded } from "./snapshots.ts";
import { findServing } from "./target.ts";
import { driverOf, STEP_MS_MAX, stepContext, type Work } from "./work.ts";

/** Why nothing may be done, or went wrong. `isHeld`: a rule may let it pass later. */
export type RevertProblem = Readonly<{ reason: string; message: string; isHeld: boolean }>;

/** undefined: the steps may run. */
export function judgeRevert(work: Work, steps: readonly Step[]): RevertProblem | undefined {
  if (steps.length === 0) {
    const message = "its driver knows no way to bring it back";
    return { reason: "DRIFT_NO_WAY_BACK", message, isHeld: false };
  }
  const grave = needsPerson(steps);
  if (grave !== undefined) {
    const message = `${grave.summary}: cannot be taken back, so nobody does it unasked; make a release that says so`;
    return { reason: "DRIFT_IRREVERSIBLE", message, isHeld: false };
  }
  const target = findServing(work.store, work.instanceId);
  if (target === undefined) return undefined;
  const held = judgeConsent(work, target, { steps, renderings: [], open: new Map() });
  return held && { ...held, isHeld: held.reason === "CONSENT_HELD" };
}

/** Looks again afterwards, whatever came of it. Throws what a step does. */
export async function runRevert(work: Work, { kind }: Compared, steps: readonly Step[]) {
  try {
    for (const step of steps) {
      const { resourceId, verb, input } = step;
      work.log.info({ step: step.id, summary: step.summary }, "revert");
      await bounded(
        work.clock,
        step.msMax ?? STEP_MS_MAX,
        step.id,
        (signal) =>
          driverOf(work, kind).run({ resourceId, kind, verb, input }, stepContext(work, signal)),
        work.signal,
      );
    }
  } finally {
    work.snapshots.spoil(kind, work.instanceId);
    await work.snapshots.fresh(kind).catch((error: unknown) => {
      work.log.debug({ kind, error: causeChain(error) }, "the look after a revert failed");
    });
  }
}
