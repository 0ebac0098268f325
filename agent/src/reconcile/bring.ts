/**
 * Brings one resource of an attempt up: render with what is known by now, prepare, plan from what is there, let the
 * rules judge what they had not seen, run, wait until ready. What it gives out is then known to those after it.
 */
import type { ResourceTemplate } from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import type { JsonObject, LookScope, Step, Wanted } from "../drivers/driver.ts";
import type { Rendering } from "../store/attempts.ts";
import * as attempts from "../store/attempts.ts";
import { waitUntilReady } from "./gate.ts";
import { plannedOf, renderResource, wantedOf } from "./rendering.ts";
import { chosenOf, staysAsIs, stepsFor } from "./restart.ts";
import type { AttemptRun } from "./run.ts";
import type { Target } from "./target.ts";
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

export type Ready = Readonly<{
  rendering: Rendering;
  wanted: Wanted;
  /** Undefined: it does not run, which a restart of others leaves so. */
  outputs: JsonObject | undefined;
}>;

/** What the branches of one drive know together. */
export type Brought = Readonly<{
  run: AttemptRun;
  target: Target;
  ready: Map<string, Ready>;
  /** Digests of what was prepared in this drive. */
  prepared: Set<string>;
}>;

/** Tries all that can fail and needs no other resource, before anything is touched. */
export async function prepareKnown(its: Brought, template: ResourceTemplate): Promise<void> {
  const { rendering, open } = await outside(template.id, async () =>
    renderResource(its.target, template, outputsOf(its)),
  );
  if (open.length > 0 || isLeft(its, rendering)) return;
  its.run.safePoint();
  its.run.tell(template.id, "is being prepared");
  await prepared(its, rendering);
}

/** `last`: nothing was done, since it holds a step without a way back and it is not yet the turn of those. */
export async function bring(
  its: Brought,
  template: ResourceTemplate,
  mayBeLast: boolean,
): Promise<"done" | "last"> {
  const { run, target, ready } = its;
  const { id } = template;
  run.safePoint();
  const { rendering, open } = await outside(id, async () =>
    renderResource(target, template, outputsOf(its)),
  );
  if (open.length > 0) {
    const names = open.map(({ path, text }) => `${path} ${text}`).join(", ");
    throw new Interrupted("failed", "OUTPUT_MISSING", `${id}: ${names}: no such output`);
  }
  if (isLeft(its, rendering)) {
    ready.set(id, await leave(run.work, rendering));
    run.tell(id, undefined);
    return "done";
  }
  const wanted = await prepared(its, rendering);
  const steps = await dueBefore(run, id, template.kind, wanted);
  if (!mayBeLast && steps.some((step) => step.class === "irreversible")) {
    run.tell(id, "has no way back and comes when nothing else is left to do");
    return "last";
  }
  judgeFilled(its, wanted, steps);
  for (const step of steps) await run.run(step);
  const replaced = new Set(run.record.restart?.replaced);
  const { handle, outputs } = await waitUntilReady(run, wanted, replaced);
  await run.output.settle(id);
  run.work.log.debug({ resource: id, copy: handle }, "ready");
  ready.set(id, { rendering, wanted, outputs });
  run.tell(id, undefined);
  return "done";
}

function outputsOf({ ready }: Brought): ReadonlyMap<string, JsonObject> {
  return new Map([...ready].flatMap(([id, { outputs }]) => (outputs ? [[id, outputs]] : [])));
}

/** A restart of others does not touch it. */
function isLeft({ run }: Brought, { resourceId, digest }: Rendering): boolean {
  const committed = attempts.findCommitted(run.work.store, run.work.instanceId);
  return staysAsIs(chosenOf(run.record), committed, resourceId, digest);
}

/** Those who name what it gives out need it running. */
async function leave(work: Work, rendering: Rendering): Promise<Ready> {
  const { resourceId, kind, digest } = rendering;
  const lives = await outside(`observe ${kind}`, () =>
    work.snapshots.of(work.instanceId, kind, "recorded"),
  );
  const serving = servingCopy(copiesOf(lives, work.instanceId, resourceId), digest);
  const outputs = serving === undefined || serving.phase === "exited" ? undefined : serving.outputs;
  const wanted = plannedOf(rendering, work.instanceId, work.artefacts.pathOf);
  return { rendering, wanted, outputs };
}

/** Once for each digest; after a crash again. */
async function prepared(
  { run: { work, output }, prepared: known }: Brought,
  rendering: Rendering,
): Promise<Wanted> {
  const { resourceId: id, kind, digest } = rendering;
  if (!known.has(digest)) keepRendering(work, rendering);
  const wanted = await outside(id, async () =>
    wantedOf(rendering, work.instanceId, work.artefacts.pathOf, work.secrets),
  );
  if (known.has(digest)) return wanted;
  const voice = output.voice(`${id}/prepare`);
  voice.learn(wanted.secrets);
  await outside(`prepare ${id}`, () =>
    within(work, PREPARE_MS_MAX, `prepare ${id}`, (context) =>
      driverOf(work, kind).prepare(wanted, { ...context, say: voice.line }),
    ),
  );
  known.add(digest);
  return wanted;
}

/** What the serving generation was rendered to stays as it is until the commit, also where it is the same again. */
function keepRendering(work: Work, rendering: Rendering): void {
  const held = attempts.findRendering(work.store, work.instanceId, rendering.digest);
  if (held === undefined) work.journal.rendered(work.instanceId, rendering);
}

/** Steps before the commit, planned from what is there now. */
export async function dueBefore(
  run: AttemptRun,
  resourceId: string,
  kind: string,
  wanted: Wanted | undefined,
): Promise<readonly Step[]> {
  const steps = await stepsOf(run, resourceId, kind, wanted);
  return steps.filter(({ when }) => when === "before-commit");
}

/** A step whose holes were filled at run time is judged again by the rules. */
function judgeFilled(
  { run: { work, record }, target }: Brought,
  wanted: Wanted,
  steps: readonly Step[],
): void {
  const { instanceId } = work;
  const { product } = target;
  const { stepsDigest } = record;
  const resources = [{ id: wanted.key.resourceId, kind: wanted.kind, spec: wanted.spec }];
  const answer = work.consent.judge({ instanceId, product, stepsDigest, steps, resources });
  if (answer.verdict === "allowed") return;
  const reason = answer.verdict === "held" ? "CONSENT_HELD" : "CONSENT_VETOED";
  throw new Interrupted("failed", reason, `${answer.rule}: ${answer.message}`);
}

export async function stepsOf(
  run: AttemptRun,
  resourceId: string,
  kind: string,
  wanted: Wanted | undefined,
  scope: LookScope = "all",
): Promise<readonly Step[]> {
  const { work } = run;
  const lives = await outside(`observe ${kind}`, () =>
    work.snapshots.of(work.instanceId, kind, scope),
  );
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
