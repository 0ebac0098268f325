/**
 * Looks after what serves between attempts: repairs what crashed, re-renders what depends on a copy that moved,
 * and says how everything is. Repairs are no attempt: they bring back what was committed. A look that fails
 * changes nothing, since unknown is not empty.
 */
import { fullJitter } from "@holdfast/shared/backoff.ts";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import type { Health, JsonObject, Live, LookScope, Step, Wanted } from "../drivers/driver.ts";
import * as attempts from "../store/attempts.ts";
import { writeOutputs } from "./publish.ts";
import { plannedOf, renderOutputs, renderResource } from "./rendering.ts";
import { bounded } from "./snapshots.ts";
import { findServing, type Target } from "./target.ts";
import {
  copiesOf,
  driverOf,
  HEALTH_MS_MAX,
  STEP_MS_MAX,
  servingCopy,
  stepContext,
  type Work,
  within,
} from "./work.ts";

export type ResourceView = Readonly<{
  id: string;
  kind: string;
  phase: "starting" | "ready" | "failed" | "stopped" | "unknown";
  alive: boolean;
  message: string;
  restarts: number;
  /** What the spec asks for and the host does not give. */
  caveat?: string;
}>;

export type ServingView = Readonly<{
  resources: readonly ResourceView[];
  outputs: JsonObject;
  /** Copies of the instance that nothing committed explains. */
  strays: readonly string[];
  /** Steps that bring back what was committed, done or due. */
  repairs: readonly string[];
  /** Why what is there could not be looked at or repaired; empty if it could. */
  trouble: string;
  /** Wall clock, ms: a repair waits until then. */
  nextAt: number | undefined;
}>;

/** What the loop keeps between passes: failed repairs in a row, and of what each resource came out as it was. */
export type RepairState = {
  failures: number;
  /** No repair until then, by the monotonic clock. */
  until: number;
  /** The same by the wall clock, for people. */
  notBefore: number;
  rendered: Map<string, RenderedFrom>;
};

/** The same again renders to the same digest. */
type RenderedFrom = Readonly<{ target: Target; outputs: string; digest: string }>;
/** Until the next look after a repair: one that says it is done and has no effect must not spin. */
const REPAIR_PAUSE_MS = 50;
const REPAIR_BACKOFF = { baseMs: 1_000, capMs: 60_000 };

export const NOTHING_SERVES: ServingView = {
  resources: [],
  outputs: {},
  strays: [],
  repairs: [],
  trouble: "",
  nextAt: undefined,
};

/**
 * One look at what was committed. What a PARTIAL attempt has touched may not be repaired: the way is forward. `since`: a
 * look that began then is new enough.
 */
export async function settle(
  work: Work,
  repair: RepairState,
  mayRepair: (resourceId: string) => boolean,
  since?: number,
): Promise<ServingView> {
  const committed = attempts.findCommitted(work.store, work.instanceId);
  const target = findServing(work.store, work.instanceId);
  if (committed === undefined || target === undefined) return NOTHING_SERVES;
  try {
    return await look(work, target, committed, { repair, mayRepair, since });
  } catch (error) {
    if (work.signal.aborted) return NOTHING_SERVES;
    if (!(error instanceof Fault)) throw error;
    const resources = committed.resources.map(({ id, kind }) => unknown(id, kind, error.message));
    return { ...NOTHING_SERVES, resources, trouble: `${error.reason}: ${error.message}` };
  }
}

type How = Readonly<{
  repair: RepairState;
  mayRepair: (resourceId: string) => boolean;
  since: number | undefined;
}>;

async function look(
  work: Work,
  target: Target,
  committed: attempts.Committed,
  how: How,
): Promise<ServingView> {
  const { repair, since } = how;
  const outputs = new Map<string, JsonObject>();
  const resources: ResourceView[] = [];
  const repairs: string[] = [];
  const explained = new Set<string>();
  let trouble = "";
  let nextAt: number | undefined;
  for (const template of target.templates) {
    const { id } = template;
    const resource = await lookAfter(work, target, committed, id, outputs, how);
    const { live, wanted, due } = resource;
    for (const step of due) {
      if (step.when !== "while-serving") repairs.push(step.summary);
      const isPaused = repair.until > work.clock.monotonic();
      const at = Math.max(step.notBefore ?? 0, isPaused ? repair.notBefore : 0);
      if (isPaused || at > work.clock.now()) {
        nextAt = Math.min(at, nextAt ?? at);
        continue;
      }
      const failure = await runRepair(work, step, repair);
      if (failure !== undefined) trouble = failure;
      nextAt = Math.min(work.clock.now() + REPAIR_PAUSE_MS, nextAt ?? Number.POSITIVE_INFINITY);
    }
    for (const { handle } of resource.copies) explained.add(handle);
    if (live !== undefined && live.phase !== "exited") outputs.set(template.id, live.outputs);
    resources.push(await viewOf(work, template.id, wanted, live));
  }
  const strays = await findStrays(work, committed, explained, since);
  const published = publish(work, target, outputs);
  return { resources, outputs: published, strays, repairs, trouble, nextAt };
}

type LookedAfter = Readonly<{
  wanted: Wanted;
  live: Live | undefined;
  copies: readonly Live[];
  due: readonly Step[];
}>;

async function lookAfter(
  work: Work,
  target: Target,
  committed: attempts.Committed,
  resourceId: string,
  outputs: ReadonlyMap<string, JsonObject>,
  how: How,
): Promise<LookedAfter> {
  const { repair, since } = how;
  const mayRepair = how.mayRepair(resourceId);
  const known = committed.resources.find(({ id }) => id === resourceId);
  const rendering = known && attempts.findRendering(work.store, work.instanceId, known.digest);
  if (known === undefined || rendering === undefined) {
    throw new Fault("INTERNAL", "RENDERING_LOST", `${resourceId}: nothing was committed`);
  }
  const last = lookedWith(work, rendering);
  // What has done its work is told nothing any more: whether it runs again an attempt decides.
  const isTold = mayRepair && driverOf(work, known.kind).runsToEnd !== true;
  const wanted = isTold ? rerender(work, target, last, outputs, repair.rendered) : last;
  const plan = async (scope: LookScope) => {
    const lives = await work.snapshots.of(work.instanceId, known.kind, scope, since);
    const copies = copiesOf(lives, work.instanceId, resourceId);
    const steps = driverOf(work, known.kind).steps(copies, last, wanted, work.clock.now());
    return { copies, steps };
  };
  const cheap = await plan("recorded");
  const isQuiet = cheap.steps.every((step) => isForLater(step, work.clock.now()));
  const { copies, steps } = isQuiet ? cheap : await plan("all");
  if (wanted.digest !== last.digest && mayRepair) adopt(work, resourceId, wanted);
  const due = mayRepair ? steps : [];
  return { wanted, live: servingCopy(copies, wanted.digest), copies, due };
}

/** A schedule has always a next time; until then nothing is wrong. */
function isForLater({ when, notBefore = 0 }: Step, now: number): boolean {
  return when === "while-serving" && notBefore > now;
}

/** A copy that came back elsewhere changes what those that depend on it are told. */
function rerender(
  work: Work,
  target: Target,
  last: Wanted,
  outputs: ReadonlyMap<string, JsonObject>,
  rendered: Map<string, RenderedFrom>,
): Wanted {
  const { resourceId } = last.key;
  const template = target.templates.find(({ id }) => id === resourceId);
  if (template === undefined) return last;
  const from = { target, outputs: JSON.stringify([...outputs]), digest: last.digest };
  const before = rendered.get(resourceId);
  const isSame = before?.outputs === from.outputs && before.digest === from.digest;
  if (isSame && before.target === target) return last;
  const { rendering, open } = renderResource(target, template, outputs);
  if (open.length > 0 || rendering.digest === last.digest) {
    rendered.set(resourceId, from);
    return last;
  }
  work.journal.rendered(work.instanceId, rendering);
  return lookedWith(work, rendering);
}

/** Without the secrets: looking needs none, and a repair that does says what is missing. */
function lookedWith(work: Work, rendering: attempts.Rendering): Wanted {
  return plannedOf(rendering, work.instanceId, work.artefacts.pathOf);
}

/** The same generation, told of a moved neighbour: no attempt, since nobody wished for anything new. */
function adopt(work: Work, resourceId: string, wanted: Wanted): void {
  const committed = attempts.findCommitted(work.store, work.instanceId);
  if (committed === undefined) return;
  const resources = committed.resources.map((each) =>
    each.id === resourceId ? { ...each, digest: wanted.digest } : each,
  );
  attempts.replaceCommitted(work.store, { ...committed, resources });
}

async function runRepair(work: Work, step: Step, repair: RepairState): Promise<string | undefined> {
  const { clock, log } = work;
  const { resourceId, kind, verb, input } = step;
  log.info({ step: step.id, summary: step.summary }, "repair");
  try {
    await bounded(
      clock,
      step.msMax ?? STEP_MS_MAX,
      step.id,
      (signal) =>
        driverOf(work, kind).run({ resourceId, kind, verb, input }, stepContext(work, signal)),
      work.signal,
    ).finally(() => work.snapshots.spoil(kind, work.instanceId));
    repair.failures = 0;
    repair.until = 0;
    return undefined;
  } catch (error) {
    if (work.signal.aborted) return undefined;
    const pauseMs = fullJitter(REPAIR_BACKOFF, repair.failures, work.random);
    repair.failures += 1;
    repair.until = clock.monotonic() + pauseMs;
    repair.notBefore = clock.now() + pauseMs;
    log.warn({ step: step.id, error: causeChain(error) }, "repair failed");
    return `${step.id}: ${error instanceof Error ? error.message : String(error)}`;
  }
}

async function viewOf(
  work: Work,
  id: string,
  wanted: Wanted,
  live: Live | undefined,
): Promise<ResourceView> {
  const { kind } = wanted;
  if (live === undefined) {
    return { id, kind, phase: "stopped", alive: false, message: "no copy runs", restarts: 0 };
  }
  const health = await within(work, HEALTH_MS_MAX, `health of ${id}`, (context) =>
    driverOf(work, kind).health(live, wanted, context),
  ).catch((): Health | undefined => undefined);
  const { restarts } = live;
  if (health === undefined) return { ...unknown(id, kind, "its health is not known"), restarts };
  const { state: phase, alive, message, caveat } = health;
  const view = { id, kind, phase, alive, message: message || live.message, restarts };
  return caveat === undefined ? view : { ...view, caveat };
}

function unknown(id: string, kind: string, message: string): ResourceView {
  return { id, kind, phase: "unknown", alive: true, message, restarts: 0 };
}

async function findStrays(
  work: Work,
  committed: attempts.Committed,
  explained: ReadonlySet<string>,
  since: number | undefined,
): Promise<readonly string[]> {
  const kinds = new Set([...committed.resources.map(({ kind }) => kind), ...work.drivers.keys()]);
  const strays: string[] = [];
  for (const kind of kinds) {
    if (!work.drivers.has(kind)) continue;
    for (const { handle, phase } of await work.snapshots.of(
      work.instanceId,
      kind,
      "recorded",
      since,
    )) {
      // Of what does nothing any more only a note is left.
      if (phase !== "idle" && !explained.has(handle)) strays.push(handle);
    }
  }
  return strays;
}

function publish(work: Work, target: Target, outputs: ReadonlyMap<string, JsonObject>): JsonObject {
  try {
    const rendered = renderOutputs(target, outputs);
    writeOutputs(work, target, rendered);
    return rendered;
  } catch (error) {
    // A resource is down: what was published stays until it is back.
    if (error instanceof Fault) return {};
    throw error;
  }
}
