/**
 * One attempt to bring an instance to a generation. Prepare everything, then bring each resource up, side by side as
 * far as they do not need each other: render, plan, journal, run, wait until ready. Then commit in one transaction and
 * let the old copies go. Until the commit the previous generation serves, and what has a way back can be undone.
 *
 *   APPLYING  steps run              to UNDOING on failure or a newer wish, to CLEANING by the commit
 *   UNDOING   done steps are undone  to ENDED: RETURNED, SUPERSEDED, or PARTIAL after an irreversible step
 *   CLEANING  old copies are stopped to ENDED: COMMITTED
 */
import { compareGenerations } from "@holdfast/shared/generation.ts";
import type { Step } from "../drivers/driver.ts";
import * as assignments from "../store/assignments.ts";
import type { AttemptRecord } from "../store/attempts.ts";
import * as attempts from "../store/attempts.ts";
import { type Brought, bring, dueBefore, prepareKnown, type Ready, stepsOf } from "./bring.ts";
import { cleanUp } from "./clean-up.ts";
import { AttemptRun } from "./run.ts";
import type { Begin } from "./schedule.ts";
import { runSideBySide } from "./side-by-side.ts";
import { needsOf, type Target } from "./target.ts";
import { undo } from "./undo.ts";
import { Interrupted, outside, type Work } from "./work.ts";

/** Begins the attempt that `record` describes. Returns when it has ended, or at once when the agent shuts down. */
export async function runAttempt(work: Work, target: Target, record: AttemptRecord): Promise<void> {
  work.journal.note(record);
  work.changed();
  const run = new AttemptRun(work, record, []);
  await drive(run, target).finally(() => run.output.end());
}

/** Goes on where a crash or a shutdown left an attempt. */
export async function resumeAttempt(
  work: Work,
  target: Target | undefined,
  record: AttemptRecord,
): Promise<void> {
  const run = new AttemptRun(work, record, attempts.listJournal(work.store, work.instanceId));
  await goOn(run, target).finally(() => run.output.end());
}

async function goOn(run: AttemptRun, target: Target | undefined): Promise<void> {
  const { record } = run;
  const isSame = target !== undefined && sameGeneration(target, record);
  if (record.phase === "CLEANING") return await cleanUp(run);
  if (record.phase === "UNDOING") return await undo(run);
  if (target !== undefined && isSame && !target.tombstone) return await drive(run, target);
  run.turn(new Interrupted("superseded", "SUPERSEDED", "a newer assignment was accepted"));
  await undo(run);
}

function sameGeneration(target: Target, { generation }: AttemptRecord): boolean {
  return compareGenerations(target.generation, generation) === 0;
}

async function drive(run: AttemptRun, target: Target): Promise<void> {
  try {
    await run.finishBegun();
    await prepareArtefacts(run, target);
    await prepareSecrets(run, target);
    const ready = await bringAll(run, target);
    for (const { id, kind } of removedBy(run, target)) {
      for (const step of await dueBefore(run, id, kind, undefined)) await run.run(step);
    }
    await commit(run, target, ready);
  } catch (error) {
    // Whatever the store or a bug throws ends the loop's pass; the journal says where to go on.
    if (!(error instanceof Interrupted)) throw error;
    if (error.kind === "shutdown") return;
    run.turn(error);
    await undo(run);
    return;
  }
  await cleanUp(run);
}

/** All that can fail without a step is tried first; then each resource begins once what it needs is ready. */
async function bringAll(run: AttemptRun, target: Target): Promise<ReadonlyMap<string, Ready>> {
  const { templates } = target;
  const its: Brought = { run, target, ready: new Map(), prepared: new Set() };
  const templateOf = (id: string) => templates.find((each) => each.id === id);
  const stop = (error: unknown) => run.halt(error);
  const alone = templates.map(({ id }) => ({ id, needs: [] }));
  const prepare = async ({ id }: Begin): Promise<"done"> => {
    const template = templateOf(id);
    if (template !== undefined) await prepareKnown(its, template);
    return "done";
  };
  await runSideBySide(alone, prepare, stop);
  const tasks = templates.map((template) => ({ id: template.id, needs: needsOf(template) }));
  for (const { id, needs } of tasks) {
    const waits = needs.length === 0 ? "waits for its turn" : `waits for ${needs.join(", ")}`;
    run.work.doing.set(id, waits);
  }
  const work = async ({ id, mayBeLast }: Begin): Promise<"done" | "last"> => {
    const template = templateOf(id);
    return template === undefined ? "done" : await bring(its, template, mayBeLast);
  };
  await runSideBySide(tasks, work, stop);
  return its.ready;
}

/** All content is local and verified before anything is touched. */
async function prepareArtefacts({ work }: AttemptRun, target: Target): Promise<void> {
  for (const artefact of target.artefacts.values()) {
    try {
      await work.artefacts.ensure(artefact, work.signal);
    } catch (error) {
      if (work.signal.aborted) throw new Interrupted("shutdown", "SHUTDOWN", "the agent ends");
      const failure = await outside(`artefact ${artefact.name}`, async () => {
        throw error;
      }).catch((each: Interrupted) => each);
      throw isPassing(error)
        ? new Interrupted("later", failure.reason, failure.message, error)
        : failure;
    }
  }
}

/** Each opens, before anything is touched; the values are dropped again. */
async function prepareSecrets({ work }: AttemptRun, target: Target): Promise<void> {
  for (const use of target.secretUses) {
    await outside("prepare", () => work.secrets.read(target.instanceId, use));
  }
}

function isPassing(error: unknown): boolean {
  return error instanceof Error && "retryable" in error && error.retryable === true;
}

/** Committed resources that the target does not have any more, those that nobody needs first. */
function removedBy({ work }: AttemptRun, target: Target) {
  const committed = attempts.findCommitted(work.store, work.instanceId);
  const kept = (id: string, kind: string) =>
    target.templates.some((template) => template.id === id && template.kind === kind);
  return (committed?.resources ?? []).filter(({ id, kind }) => !kept(id, kind)).toReversed();
}

/** From here on the new generation is the one that serves; what is left is to let the old one go. */
async function commit(
  run: AttemptRun,
  target: Target,
  ready: ReadonlyMap<string, Ready>,
): Promise<void> {
  const { work } = run;
  const order = [
    ...target.templates.toReversed().map(({ id, kind }) => ({ id, kind })),
    ...removedBy(run, target),
  ];
  const after: Step[] = [];
  for (const { id, kind } of order) {
    // The look at everything before the start has left a record of whatever is to be let go.
    const steps = await stepsOf(run, id, kind, ready.get(id)?.wanted, "recorded");
    after.push(...steps.filter(({ when }) => when === "after-commit"));
  }
  run.safePoint();
  const isStill =
    run.record.restart !== undefined ||
    assignments.find(work.store, work.instanceId)?.digest === target.assignmentDigest;
  if (!isStill)
    throw new Interrupted("superseded", "SUPERSEDED", "a newer assignment was accepted");
  run.commit(
    {
      instanceId: work.instanceId,
      generation: target.generation,
      assignmentDigest: target.assignmentDigest,
      releaseDigest: target.releaseDigest,
      releaseVersion: target.releaseVersion,
      assignment: target.assignment,
      isRunning: target.isRunning,
      given: target.given,
      resources: target.templates.map(({ id, kind }) => ({
        id,
        kind,
        digest: ready.get(id)?.wanted.digest ?? "",
      })),
      committedAt: work.clock.now(),
    },
    [...ready.values()].map(({ rendering }) => rendering),
    after,
  );
}
