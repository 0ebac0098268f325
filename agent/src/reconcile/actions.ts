/** One-off orders of the hub: each id is acted upon at most once, also across a crash, and answered always. */
import { create } from "@bufbuild/protobuf";
import {
  type Action,
  ActionKind,
  type ActionResult,
  ActionResultSchema,
  ActionState,
} from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import type { Clock } from "@holdfast/shared/clock.ts";
import { asFault, Fault } from "@holdfast/shared/fault.ts";
import { STANDING_VERBS } from "../drivers/driver.ts";
import * as attempts from "../store/attempts.ts";
import type { Store } from "../store/database.ts";
import * as statuses from "../store/statuses.ts";
import type { Engine } from "./engine.ts";
import { bounded } from "./snapshots.ts";
import { copiesOf, driverOf, STEP_MS_MAX, servingCopy, stepContext, type Work } from "./work.ts";

export type ActionDeps = Readonly<{ store: Store; engine: Engine; clock: Clock }>;

export async function act(deps: ActionDeps, action: Action): Promise<ActionResult> {
  const { store, clock } = deps;
  const known = statuses.findActionResult(store, action.id);
  if (known !== undefined) return known;
  const result = (state: ActionState, reason: string, message: string) =>
    create(ActionResultSchema, { id: action.id, state, reason, message });
  const now = clock.now();
  const notAfter = action.notAfter === undefined ? now : Number(action.notAfter.seconds) * 1_000;
  if (now > notAfter) {
    const late = `not begun before ${new Date(notAfter).toISOString()}`;
    return kept(deps, result(ActionState.EXPIRED, "EXPIRED", late));
  }
  // Written before anything is done: after a crash it is not known how far it got, and it is not done twice.
  const begun = "the agent ended while it was done";
  kept(deps, result(ActionState.FAILED, "INTERRUPTED", begun));
  try {
    const message = await perform(deps, action);
    return kept(deps, result(ActionState.DONE, "DONE", message));
  } catch (error) {
    const { code, reason, message } = asFault(error, "the action failed");
    const state = code === "UNIMPLEMENTED" ? ActionState.REFUSED : ActionState.FAILED;
    return kept(deps, result(state, reason, message));
  }
}

function kept({ store, clock }: ActionDeps, result: ActionResult): ActionResult {
  statuses.putActionResult(store, result, clock.now());
  return result;
}

async function perform({ store, engine }: ActionDeps, action: Action): Promise<string> {
  const work = engine.workOf(action.instanceId);
  if (work === undefined) {
    throw new Fault("NOT_FOUND", "INSTANCE_UNKNOWN", "this agent holds no such instance");
  }
  switch (action.kind) {
    case ActionKind.RETRY: {
      const attempt = attempts.find(store, action.instanceId);
      if (attempt?.phase === "ENDED") attempts.put(store, { ...attempt, inputsDigest: "" });
      engine.wake(action.instanceId);
      return "the next attempt may begin";
    }
    case ActionKind.RESTART: {
      const told = await restart(work, action.resource);
      engine.wake(action.instanceId);
      return told;
    }
    default:
      throw new Fault("UNIMPLEMENTED", "ACTION_UNKNOWN", "this agent does not know the action");
  }
}

async function restart(work: Work, resource: string): Promise<string> {
  const committed = attempts.findCommitted(work.store, work.instanceId);
  const chosen = (committed?.resources ?? []).filter(
    ({ id }) => resource === "" || id === resource,
  );
  let ended = 0;
  for (const { id: resourceId, kind, digest } of chosen) {
    const copies = copiesOf(await work.snapshots.fresh(kind), work.instanceId, resourceId);
    const copy = servingCopy(copies, digest);
    if (copy === undefined) continue;
    const input = { instance: work.instanceId, handle: copy.handle };
    await bounded(
      work.clock,
      STEP_MS_MAX,
      `restart ${resourceId}`,
      (signal) =>
        driverOf(work, kind).run(
          { resourceId, kind, verb: STANDING_VERBS.restart, input },
          stepContext(work, signal),
        ),
      work.signal,
    ).finally(() => work.snapshots.spoil(kind));
    ended += 1;
  }
  return `${ended} of ${chosen.length} resources restart`;
}
