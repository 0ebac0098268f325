/**
 * One attempt to bring an instance to a generation. Prepare everything, then resource by resource: render,
 * plan, journal, run, wait until ready; then commit in one transaction and let the old copies go. Until the
 * commit the previous generation serves and everything can be undone.
 *
 *   APPLYING  steps run              to UNDOING on failure or a newer wish, to CLEANING by the commit
 *   UNDOING   done steps are undone  to ENDED: RETURNED, SUPERSEDED, or PARTIAL after an irreversible step
 *   CLEANING  old copies are stopped to ENDED: COMMITTED
 */
import type { ResourceTemplate } from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import { compareGenerations } from "@holdfast/shared/generation.ts";
import type { JsonObject, LookScope, Step, Wanted } from "../drivers/driver.ts";
import * as assignments from "../store/assignments.ts";
import type { AttemptRecord, Rendering } from "../store/attempts.ts";
import * as attempts from "../store/attempts.ts";
import { cleanUp } from "./clean-up.ts";
import { waitUntilReady } from "./gate.ts";
import { plannedOf, renderResource, wantedOf } from "./rendering.ts";
import { chosenOf, staysAsIs, stepsFor } from "./restart.ts";
import { AttemptRun } from "./run.ts";
import type { Target } from "./target.ts";
import { undo } from "./undo.ts";
import {
  copiesOf,
  driverOf,
  Interrupted,
  outside,
  plannedCommitted,
  servingCopy,
  type Work,
  within,
} from "./work.ts";

/** Preparing one resource, such as a dry run; downloads have no other end than the link's. */
const PREPARE_MS_MAX = 600_000;

/** Begins the attempt that `record` describes. Returns when it has ended, or at once when the agent shuts down. */
export async function runAttempt(work: Work, target: Target, record: AttemptRecord): Promise<void> {
  work.journal.note(record);
  work.changed();
  await drive(new AttemptRun(work, record, []), target);
}

/** Goes on where a crash or a shutdown left an attempt. */
export async function resumeAttempt(
  work: Work,
  target: Target | undefined,
  record: AttemptRecord,
): Promise<void> {
  const run = new AttemptRun(work, record, attempts.listJournal(work.store, work.instanceId));
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
    const outputs = new Map<string, JsonObject>();
    const wanted = new Map<string, Wanted>();
    for (const template of target.templates) {
      const rendered = await bring(run, target, template, outputs);
      wanted.set(template.id, rendered);
    }
    for (const { id, kind } of removedBy(run, target)) await runDueBefore(run, id, kind, undefined);
    await commit(run, target, wanted);
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

/** Brings one resource up and waits until it is ready. What it gives out is then known to those after it. */
async function bring(
  run: AttemptRun,
  target: Target,
  template: ResourceTemplate,
  outputs: Map<string, JsonObject>,
): Promise<Wanted> {
  const { work } = run;
  const { id, kind } = template;
  const { rendering, open } = await outside(id, async () =>
    renderResource(target, template, outputs),
  );
  if (open.length > 0) {
    const names = open.map(({ path, text }) => `${path} ${text}`).join(", ");
    throw new Interrupted("failed", "OUTPUT_MISSING", `${id}: ${names}: no such output`);
  }
  const committed = attempts.findCommitted(work.store, work.instanceId);
  if (staysAsIs(chosenOf(run.record), committed, id, rendering.digest)) {
    return await leave(work, rendering, outputs);
  }
  work.journal.rendered(work.instanceId, rendering);
  const wanted = await outside(id, async () =>
    wantedOf(rendering, work.instanceId, work.artefacts.pathOf, work.secrets),
  );
  await outside(`prepare ${id}`, () =>
    within(work, PREPARE_MS_MAX, `prepare ${id}`, (context) =>
      driverOf(work, kind).prepare(wanted, context),
    ),
  );
  await runDueBefore(run, id, kind, wanted, target);
  const replaced = new Set(run.record.restart?.replaced);
  const { handle, outputs: given } = await waitUntilReady(run, wanted, replaced);
  work.log.debug({ resource: id, copy: handle }, "ready");
  outputs.set(id, given);
  return wanted;
}

/** A restart of others does not touch it; those who name what it gives out need it running. */
async function leave(
  work: Work,
  rendering: Rendering,
  outputs: Map<string, JsonObject>,
): Promise<Wanted> {
  const { resourceId, kind, digest } = rendering;
  const lives = await outside(`observe ${kind}`, () => work.snapshots.recent(kind, "recorded"));
  const serving = servingCopy(copiesOf(lives, work.instanceId, resourceId), digest);
  if (serving !== undefined && serving.phase !== "exited") outputs.set(resourceId, serving.outputs);
  return plannedOf(rendering, work.instanceId, work.artefacts.pathOf);
}

/** Plans again from what is there now, and runs what comes before the commit. */
async function runDueBefore(
  run: AttemptRun,
  resourceId: string,
  kind: string,
  wanted: Wanted | undefined,
  target?: Target,
): Promise<void> {
  const steps = await stepsOf(run, resourceId, kind, wanted);
  const due = steps.filter(({ when }) => when === "before-commit");
  if (target !== undefined && wanted !== undefined) judgeFilled(run, target, wanted, due);
  for (const step of due) await run.run(step);
}

/** A step whose holes were filled at run time is judged again by the rules. */
function judgeFilled(
  { work }: AttemptRun,
  target: Target,
  wanted: Wanted,
  steps: readonly Step[],
): void {
  const { instanceId } = work;
  const resources = [{ id: wanted.key.resourceId, kind: wanted.kind, spec: wanted.spec }];
  const answer = work.consent.judge({ instanceId, product: target.product, steps, resources });
  if (answer.verdict === "allowed") return;
  const reason = answer.verdict === "held" ? "CONSENT_HELD" : "CONSENT_VETOED";
  throw new Interrupted("failed", reason, `${answer.rule}: ${answer.message}`);
}

async function stepsOf(
  run: AttemptRun,
  resourceId: string,
  kind: string,
  wanted: Wanted | undefined,
  scope: LookScope = "all",
): Promise<readonly Step[]> {
  const { work } = run;
  const lives = await outside(`observe ${kind}`, () => work.snapshots.recent(kind, scope));
  const copies = copiesOf(lives, work.instanceId, resourceId);
  const committed = attempts.findCommitted(work.store, work.instanceId);
  const last = plannedCommitted(work, committed, resourceId, kind);
  const now = work.clock.now();
  return await outside(resourceId, async () => {
    const driver = driverOf(work, kind);
    if (wanted === undefined) return driver.steps(copies, last, wanted, now);
    const { record, entries } = run;
    const chosen = scope === "all" ? chosenOf(record) : undefined;
    return stepsFor(driver, { chosen, committed, entries, copies, last, wanted, now });
  });
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
  wanted: ReadonlyMap<string, Wanted>,
): Promise<void> {
  const { work } = run;
  const order = [
    ...target.templates.toReversed().map(({ id, kind }) => ({ id, kind })),
    ...removedBy(run, target),
  ];
  const after: Step[] = [];
  for (const { id, kind } of order) {
    // The look at everything before the start has left a record of whatever is to be let go.
    const steps = await stepsOf(run, id, kind, wanted.get(id), "recorded");
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
      resources: target.templates.map(({ id, kind }) => ({
        id,
        kind,
        digest: wanted.get(id)?.digest ?? "",
      })),
      committedAt: work.clock.now(),
    },
    after,
  );
}
