/**
 * Destroying data: only what nothing uses any more, or what a step of an attempt names, and only with a permission that
 * the hub cannot make. An order is judged by the vendor's destroy keys and this host's clock; the customer's own approval
 * comes from this host. Each is written down before anything is destroyed, and done at most once.
 */
import type { Action } from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import { KeyPurpose } from "@holdfast/proto/holdfast/model/v1/keys_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import {
  compareGenerations,
  formatGeneration,
  type Generation,
} from "@holdfast/shared/generation.ts";
import { shown } from "@holdfast/shared/text.ts";
import { judgeDestroyOrder, keysOf } from "../assignments/judge.ts";
import type { Step } from "../drivers/driver.ts";
import * as assignments from "../store/assignments.ts";
import * as grants from "../store/destroy-grants.ts";
import * as facts from "../store/facts.ts";
import * as pins from "../store/pins.ts";
import type { Hold } from "./decide.ts";
import { isUsed, type Kept, lookAt } from "./kept.ts";
import { judgeFrozen } from "./plan.ts";
import { stepsDigestOf } from "./steps-digest.ts";
import { driverOf, STEP_MS_MAX, type Work, within } from "./work.ts";

/** What the customer approves on this host has an id that no hub may use. */
export const LOCAL_PREFIX = "local:";

type Permission = Omit<grants.DestroyGrant, "usedAt" | "at">;

/** True: it has ended, look again. Throws a Fault for what may be tried again as long as there is time. */
export async function destroyByAction(work: Work, action: Action): Promise<boolean> {
  const { orders, store, clock } = work;
  const refuse = (reason: string, message: string): true => {
    orders.end(action, { state: "REFUSED", reason, message });
    return true;
  };
  let permission: Permission;
  try {
    permission = permissionOf(work, action);
  } catch (error) {
    if (!(error instanceof Fault) || error.code !== "PERMISSION_DENIED") throw error;
    return refuse(error.reason, error.message);
  }
  const { id, names } = permission;
  const known = grants.find(store, id);
  if (known?.usedAt !== undefined) {
    return refuse("ORDER_USED", `the order was done at ${new Date(known.usedAt).toISOString()}`);
  }
  const wait = waitOf(work, permission);
  if (wait !== undefined) {
    orders.hold(action, wait.reason, wait.message);
    return false;
  }
  const all = await keptNow(work);
  const asked = all.filter((each) => names.length === 0 || names.includes(each.name));
  const used = asked.filter((each) => isUsed(store, each));
  const unknown = names.filter((name) => !all.some((each) => each.name === name));
  // Gone already where it was begun before: then it is done.
  if (known === undefined && unknown.length > 0) {
    return refuse("DATA_UNKNOWN", `nothing of this name is kept: ${unknown.map(shown).join(", ")}`);
  }
  if (used.length > 0 && (names.length === 0 || used.length < asked.length)) {
    const message = `in use: ${namesIn(used)}; an order that an attempt may destroy it names nothing else`;
    return refuse("DATA_IN_USE", message);
  }
  const veto = used.length > 0 ? undefined : judgeDestruction(work, action, asked);
  if (veto !== undefined) return refuse(veto.reason, veto.message);
  grants.add(store, { ...permission, at: clock.now() });
  if (used.length > 0) {
    const message = `an attempt at ${formatGeneration(permission.generation)} may destroy ${namesIn(used)}`;
    orders.end(action, { state: "DONE", reason: "GRANTED", message });
    return true;
  }
  await destroyAll(work, asked);
  store.transaction(() => {
    grants.markUsed(store, id, clock.now());
    const what = asked.length === 0 ? "nothing was left" : `destroyed: ${namesIn(asked)}`;
    orders.end(action, { state: "DONE", reason: "DESTROYED", message: what });
  });
  work.log.warn({ by: permission.grantedBy, data: asked.map(({ place }) => place) }, "destroyed");
  return true;
}

/** Throws PERMISSION_DENIED with the rule that an order breaks. */
function permissionOf(work: Work, action: Action): Permission {
  const { store, clock, hubNow, instanceId, addressee } = work;
  const held = assignments.find(store, instanceId);
  if (action.id.startsWith(LOCAL_PREFIX)) {
    const names = action.resource === "" ? [] : [action.resource];
    const generation = held?.generation ?? { incarnation: 0n, number: 0n };
    return { id: action.id, instanceId, generation, names, grantedBy: "approved on this host" };
  }
  const keys = keysOf(pins.findKeySet(store, KeyPurpose.DESTROY));
  // A hub that was taken over may say any time: it can make an order expire, never make it last.
  const now = Math.max(clock.now(), hubNow());
  const judged = judgeDestroyOrder(action.destroyOrder, keys, addressee, instanceId, now);
  const { generation } = judged;
  if (held !== undefined && compareGenerations(generation, held.generation) < 0) {
    const than = formatGeneration(held.generation);
    const message = `destroy order: generation ${formatGeneration(generation)} is older than ${than}`;
    throw new Fault("PERMISSION_DENIED", "GENERATION_OLD", message);
  }
  const { digest: id, names, keyId } = judged;
  return { id, instanceId, generation, names, grantedBy: `destroy key ${keyId}` };
}

function waitOf({ store, instanceId }: Work, { generation }: Permission): Hold | undefined {
  const held = assignments.find(store, instanceId);
  if (held !== undefined && compareGenerations(generation, held.generation) > 0) {
    const message = `generation ${formatGeneration(generation)} has not come yet`;
    return { reason: "GENERATION_AHEAD", message };
  }
  if (held?.releaseDigest === "" && !held.removed) {
    return { reason: "REMOVAL_UNDER_WAY", message: "the instance is still being removed" };
  }
  return judgeFrozen(facts.findFrozen(store));
}

/** A rule of the customer against whatever a driver would do holds for this as well; who approves here is the customer. */
function judgeDestruction(work: Work, action: Action, asked: readonly Kept[]): Hold | undefined {
  if (action.id.startsWith(LOCAL_PREFIX)) return undefined;
  const { instanceId } = work;
  const steps = asked.map(
    ({ kind, name, resourceId = "" }): Step => ({
      ...{ id: `destroy/${name}`, resourceId, kind, verb: "destroy", input: { name } },
      ...{ class: "irreversible", when: "before-commit", summary: `destroy ${name}` },
      destroys: [name],
    }),
  );
  const stepsDigest = stepsDigestOf({ steps, renderings: [], open: new Map() });
  const asking = { instanceId, product: "", stepsDigest, steps, resources: [] };
  const answer = work.consent.judge(asking);
  if (answer.verdict === "allowed") return undefined;
  return { reason: "CONSENT_VETOED", message: `${answer.rule}: ${answer.message}` };
}

/** Rejects if any driver cannot say. */
export async function keptNow(work: Work): Promise<readonly Kept[]> {
  const { drivers, signal, instanceId } = work;
  const isOwn = (each: Readonly<{ instanceId: string }>) => each.instanceId === instanceId;
  const found: Kept[] = [];
  for (const kind of drivers.keys()) found.push(...(await lookAt(work, kind, signal, isOwn)));
  return found.filter(isOwn);
}

async function destroyAll(work: Work, asked: readonly Kept[]): Promise<void> {
  const { instanceId } = work;
  for (const kind of new Set(asked.map((each) => each.kind))) {
    const names = asked.filter((each) => each.kind === kind).map(({ name }) => name);
    await within(work, STEP_MS_MAX, `destroy ${names.join(", ")}`, (context) =>
      driverOf(work, kind).destroy(instanceId, context, names),
    );
  }
  work.kept.ring();
  const left = (await keptNow(work)).filter(({ kind, name }) =>
    asked.some((each) => each.kind === kind && each.name === name),
  );
  if (left.length === 0) return;
  throw new Fault("UNAVAILABLE", "STILL_KEPT", `${namesIn(left)}: still there`);
}

function namesIn(data: readonly Kept[]): string {
  return data.map(({ name }) => name).join(", ");
}

/** What the steps would destroy without a permission for this generation. */
export function ungranted(
  { store, instanceId }: Pick<Work, "store" | "instanceId">,
  generation: Generation,
  steps: readonly Pick<Step, "destroys">[],
): readonly string[] {
  const wanted = [...new Set(steps.flatMap(({ destroys = [] }) => destroys))];
  if (wanted.length === 0) return [];
  const granted = new Set(
    grants.listOpen(store, instanceId, generation).flatMap(({ names }) => names),
  );
  return wanted.filter((name) => !granted.has(name));
}

/** Why an attempt may not begin; the order comes as an action, or on this host. */
export function judgeDestroys(
  work: Pick<Work, "store" | "instanceId">,
  generation: Generation,
  steps: readonly Step[],
): Hold | undefined {
  const missing = ungranted(work, generation, steps);
  if (missing.length === 0) return undefined;
  const message = `${formatGeneration(generation)}: needs a destroy order or holdfast-agent destroy for: ${missing.join(", ")}`;
  return { reason: "DESTROY_ORDER_MISSING", message };
}

/** At the last moment, whoever planned the step. Throws PERMISSION_DENIED `DESTROY_ORDER_MISSING`. */
export function refuseUnordered(
  work: Pick<Work, "store" | "instanceId">,
  generation: Generation,
  step: Pick<Step, "destroys">,
): void {
  const [missing] = ungranted(work, generation, [step]);
  if (missing === undefined) return;
  const message = `${missing}: no destroy order for generation ${formatGeneration(generation)}`;
  throw new Fault("PERMISSION_DENIED", "DESTROY_ORDER_MISSING", message);
}
