/**
 * One-off orders of the hub, each done at most once: written when it comes, worked off one at a time in the loop of
 * its instance, answered with the result that was written. A restart is journaled like an attempt, so that a crash in
 * its middle is gone on from; whatever began never begins again.
 *
 *   open     held by a rule, or waiting for an attempt to end; EXPIRED once its time is over
 *   begun    its restart is in the store; not looked at the time any more
 *   ended    DONE, FAILED, EXPIRED or REFUSED, for ever
 */
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type Action,
  ActionKind,
  type ActionResult,
  ActionResultSchema,
  ActionSchema,
  ActionState,
} from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import type { Clock, Random } from "@holdfast/shared/clock.ts";
import { asFault, Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import * as actions from "../store/actions.ts";
import * as assignments from "../store/assignments.ts";
import type { AttemptRecord } from "../store/attempts.ts";
import * as attempts from "../store/attempts.ts";
import type { Store } from "../store/database.ts";
import { resumeAttempt, runAttempt } from "./attempt.ts";
import { destroyByAction, LOCAL_PREFIX } from "./destruction.ts";
import { adoptDrift, type DriftVerdict, revertDrift } from "./drift-orders.ts";
import { findHold, judgeConsent, planAttempt } from "./plan.ts";
import { plannedSteps } from "./shown-steps.ts";
import { stepsDigestOf } from "./steps-digest.ts";
import { findServing, type Target } from "./target.ts";
import { copiesOf, driverOf, identityOf, type Work } from "./work.ts";

/** How long what was approved on this host may wait for an attempt or a removal to end. */
const APPROVAL_MS = 600_000;

export type Tell = (result: ActionResult) => void;

/** The state, the reason, the message. */
type Verdict = Readonly<{
  state: keyof typeof ActionState;
  reason: string;
  message: string;
}>;

export type OrdersDeps = Readonly<{
  store: Store;
  clock: Clock;
  random: Random;
  /** The hub's time, ms. */
  hubNow(): number;
}>;

/** What the agent knows of its orders beside what is in the store: whom to tell, and what holds them. */
export class Orders {
  readonly #deps: OrdersDeps;
  readonly #tell = new Map<string, Tell>();
  readonly #held = new Map<string, ActionResult>();

  constructor(deps: OrdersDeps) {
    this.#deps = deps;
  }

  /** Durable when it returns. `tell` hears of a hold and of the end; true: the instance's loop has to look. */
  take(action: Action, tell: Tell): boolean {
    const { store, clock } = this.#deps;
    const result = actions.findResult(store, action.id);
    if (result !== undefined) {
      tell(result);
      return false;
    }
    const isForged = action.id.startsWith(LOCAL_PREFIX);
    const refusal = isForged ? FORGED : this.#refusalOf(action);
    if (refusal !== undefined) {
      this.#tell.set(action.id, tell);
      this.end(action, refusal);
      return false;
    }
    actions.add(store, action, clock.now());
    this.#tell.set(action.id, tell);
    const held = this.#held.get(action.id);
    if (held !== undefined) tell(held);
    return true;
  }

  /**
   * What the customer approves on this host: that data is destroyed, all of it or what has this name. Resolves with how it
   * ended; what waits says so at once, and its time goes on.
   */
  async approve(instanceId: string, name: string, wake: () => void): Promise<ActionResult> {
    const { store, clock, random, hubNow } = this.#deps;
    const id = `${LOCAL_PREFIX}${clock.now().toString(36)}-${random().toString(36).slice(2)}`;
    const notAfter = timestampFromMs(hubNow() + APPROVAL_MS);
    const kind = ActionKind.DESTROY;
    const action = create(ActionSchema, { id, instanceId, kind, resource: name, notAfter });
    actions.add(store, action, clock.now());
    return await new Promise((resolve) => {
      this.#tell.set(id, resolve);
      wake();
    });
  }

  oldest(instanceId: string): Action | undefined {
    return actions.oldestOpen(this.#deps.store, instanceId);
  }

  isOver({ notAfter }: Action): boolean {
    return notAfter === undefined || this.#deps.hubNow() > Number(notAfter.seconds) * 1_000;
  }

  /** Told once for each text, so that a hold of a day is one message. */
  hold(action: Action, reason: string, message: string): void {
    const result = resultOf(action, { state: "HELD", reason, message });
    if (this.#held.get(action.id)?.message === message) return;
    this.#held.set(action.id, result);
    this.#tell.get(action.id)?.(result);
  }

  heldBy({ id }: Action): string {
    const held = this.#held.get(id);
    return held === undefined ? "" : `; ${held.reason}: ${held.message}`;
  }

  end(action: Action, verdict: Verdict): void {
    const { store, clock } = this.#deps;
    const result = resultOf(action, verdict);
    actions.end(store, action, result, clock.now());
    this.#held.delete(action.id);
    this.#tell.get(action.id)?.(result);
    this.#tell.delete(action.id);
  }

  #refusalOf(action: Action): Verdict | undefined {
    const { store } = this.#deps;
    if (assignments.find(store, action.instanceId) === undefined) {
      return refused("INSTANCE_UNKNOWN", "this agent holds no such instance");
    }
    const open = actions.countOpen(store);
    if (open < actions.OPEN_ACTIONS_MAX) return undefined;
    return refused("ACTIONS_TOO_MANY", `${open} actions are open here; no more are taken`);
  }
}

const FORGED: Verdict = {
  state: "REFUSED",
  reason: "NOT_LOCAL",
  message: "an order of the hub cannot stand for an approval on this host",
};

function resultOf({ id }: Action, { state, reason, message }: Verdict): ActionResult {
  return create(ActionResultSchema, { id, state: ActionState[state], reason, message });
}

function refused(reason: string, message: string): Verdict {
  return { state: "REFUSED", reason, message };
}

/** Goes on with a restart that a crash or a shutdown cut off. Before anything else is done to the instance. */
export async function resumeRestart(work: Work): Promise<void> {
  const record = attempts.findRestart(work.store, work.instanceId);
  if (record === undefined || record.phase === "ENDED") return;
  await resumeAttempt(work, findServing(work.store, work.instanceId), record);
}

/** Does the oldest open order, if it may be done now. True: something was done, look again. */
export async function workOff(work: Work): Promise<boolean> {
  const { orders, store, instanceId, signal } = work;
  const action = orders.oldest(instanceId);
  if (action === undefined) return false;
  const last = attempts.findRestart(store, instanceId);
  if (last?.restart.actionId === action.id) {
    if (last.phase === "ENDED") orders.end(action, verdictOf(last, action));
    return last.phase === "ENDED";
  }
  if (orders.isOver(action)) {
    const message = `not begun in its time${orders.heldBy(action)}`;
    orders.end(action, { state: "EXPIRED", reason: "EXPIRED", message });
    return true;
  }
  try {
    return await begin(work, action);
  } catch (error) {
    if (signal.aborted || !(error instanceof Fault)) throw error;
    const { reason, message, retryable } = asFault(error, "the action failed");
    // A look that failed says nothing about what is there: as long as there is time, it is taken again.
    if (retryable) orders.hold(action, reason, message);
    else orders.end(action, { state: "FAILED", reason, message });
    return !retryable;
  }
}

async function begin(work: Work, action: Action): Promise<boolean> {
  switch (action.kind) {
    case ActionKind.RETRY:
      // One write: the attempt is let go once for one order.
      work.store.transaction(() => work.orders.end(action, retry(work)));
      return true;
    case ActionKind.RESTART:
    case ActionKind.RUN_JOB:
      return await restart(work, action);
    case ActionKind.DESTROY:
      return await destroyByAction(work, action);
    case ActionKind.ADOPT_DRIFT:
      return closed(work, action, await adoptDrift(work, action.resource));
    case ActionKind.REVERT_DRIFT:
      return closed(work, action, await revertDrift(work, action.resource));
    default:
      work.orders.end(action, refused("ACTION_UNKNOWN", "this agent does not know the action"));
      return true;
  }
}

/** What is held is tried again at the next pass. */
function closed({ orders }: Work, action: Action, { state, reason, message }: DriftVerdict) {
  if (state === "HELD") orders.hold(action, reason, message);
  else orders.end(action, { state, reason, message });
  return state !== "HELD";
}

/** An attempt that failed is held until its inputs differ, so it is made to forget them. */
function retry({ store, instanceId }: Work): Verdict {
  const attempt = attempts.find(store, instanceId);
  const held = assignments.find(store, instanceId);
  const isTried =
    attempt !== undefined &&
    held !== undefined &&
    (attempt.state === "RETURNED" || attempt.state === "PARTIAL" || attempt.state === "HELD") &&
    attempt.generation.incarnation === held.generation.incarnation &&
    attempt.generation.number === held.generation.number;
  if (!isTried) {
    return refused("NOTHING_TO_RETRY", "no attempt at the wanted generation has failed or is held");
  }
  attempts.put(store, { ...attempt, inputsDigest: "" });
  const message = `the attempt that ended with ${attempt.reason} may begin again`;
  return { state: "DONE", reason: "RETRIED", message };
}

/** Also one more run of a job: a new copy of it, whose work is to run to its end. */
async function restart(work: Work, action: Action): Promise<boolean> {
  const { orders, instanceId } = work;
  const target = findServing(work.store, instanceId);
  const refusal = refusalOf(work, target, action.resource);
  if (refusal !== undefined || target === undefined) {
    orders.end(action, refusal ?? refused("NOTHING_RUNS", "nothing of it is installed"));
    return true;
  }
  const found = chosenFor(work, target, action);
  if ("state" in found) {
    orders.end(action, found);
    return true;
  }
  const chosen = new Set(found.ids);
  if (action.kind === ActionKind.RUN_JOB && (await isRunning(work, target, action.resource))) {
    orders.hold(action, "JOB_RUNNING", `${action.resource} runs just now; it waits for the end`);
    return false;
  }
  const plan = await planAttempt(work, target, chosen);
  const consent = judgeConsent(work, target, plan);
  if (consent?.reason === "CONSENT_HELD") {
    orders.hold(action, consent.reason, consent.message);
    return false;
  }
  if (consent !== undefined) {
    orders.end(action, refused(consent.reason, consent.message));
    return true;
  }
  const record = await recordOf(work, target, action, [...chosen]);
  const planned = { steps: plannedSteps(plan.steps), stepsDigest: stepsDigestOf(plan) };
  work.log.info({ action: action.id, resources: [...chosen] }, "restart");
  await runAttempt(work, target, { ...record, ...planned });
  return true;
}

function refusalOf(work: Work, target: Target | undefined, resource: string): Verdict | undefined {
  const wanted = assignments.find(work.store, work.instanceId);
  if (wanted?.removed === true || wanted?.releaseDigest === "") {
    return refused("INSTANCE_LEAVING", "the instance is being removed");
  }
  if (target?.isRunning !== true) return refused("NOTHING_RUNS", "nothing of it is to run");
  const ids = target.templates.map(({ id }) => id);
  if (resource !== "" && !ids.includes(resource)) {
    const known = ids.join(", ");
    return refused("RESOURCE_UNKNOWN", `got ${shown(resource)}; it consists of ${known}`);
  }
  const hold = findHold(work, target);
  return hold && refused(hold.reason, hold.message);
}

/** Whoever runs to its end is run by its name alone, and never because everything is restarted. */
function chosenFor(
  work: Work,
  { templates }: Target,
  { kind, resource }: Action,
): Verdict | Readonly<{ ids: readonly string[] }> {
  const isJob = (template: Readonly<{ kind: string }>) =>
    driverOf(work, template.kind).runsToEnd === true;
  const jobs = templates.filter(isJob).map(({ id }) => id);
  if (kind === ActionKind.RUN_JOB) {
    if (jobs.includes(resource)) return { ids: [resource] };
    const known = jobs.length === 0 ? "it has none" : `its jobs: ${jobs.join(", ")}`;
    return refused("JOB_UNKNOWN", `got ${shown(resource)}; ${known}`);
  }
  if (jobs.includes(resource)) {
    return refused("JOB_NOT_RESTARTED", `${resource} is a job; it is run once more by run-job`);
  }
  const ids = templates.map(({ id }) => id).filter((id) => !jobs.includes(id));
  if (ids.length === 0) return refused("NOTHING_RUNS", "it consists of jobs alone");
  return { ids: resource === "" ? ids : [resource] };
}

async function isRunning(work: Work, { templates }: Target, resource: string): Promise<boolean> {
  const kind = templates.find(({ id }) => id === resource)?.kind ?? "";
  const copies = copiesOf(
    await work.snapshots.of(work.instanceId, kind),
    work.instanceId,
    resource,
  );
  return copies.some(({ phase }) => phase === "running" || phase === "starting");
}

async function recordOf(
  work: Work,
  target: Target,
  { id: actionId }: Action,
  resources: readonly string[],
): Promise<AttemptRecord> {
  const { instanceId, generation, releaseVersion } = target;
  const replaced: string[] = [];
  for (const { id, kind } of target.templates) {
    if (!resources.includes(id)) continue;
    const copies = copiesOf(await work.snapshots.of(instanceId, kind), instanceId, id);
    replaced.push(...copies.map(identityOf));
  }
  const wishDigest = assignments.find(work.store, instanceId)?.digest ?? "";
  return {
    ...{ instanceId, id: 0, generation, releaseVersion },
    ...{ inputsDigest: "", phase: "APPLYING", state: "RUNNING", reason: "", message: "" },
    steps: [],
    stepsDigest: "",
    startedAt: work.clock.now(),
    endedAt: undefined,
    restart: { actionId, resources, replaced, wishDigest },
  };
}

/** What an ended restart comes to. Read from the record, so that a crash before it is told changes nothing. */
function verdictOf(
  { state, reason, message, restart, steps }: EndedRestart,
  { kind, resource }: Action,
): Verdict {
  if (state === "COMMITTED" && kind === ActionKind.RUN_JOB) {
    const step = steps.find((each) => each.resource === resource && each.state === "DONE");
    return { state: "DONE", reason: "JOB_RUN", message: `${resource}: ${step?.message ?? ""}` };
  }
  if (state === "COMMITTED") {
    const names = restart.resources.join(", ");
    return { state: "DONE", reason: "RESTARTED", message: `${names}: another copy serves` };
  }
  return { state: "FAILED", reason, message };
}

type EndedRestart = NonNullable<ReturnType<typeof attempts.findRestart>>;
