/**
 * What an assignment would do, without doing it: the plan, the rules that would hold it, what is missing. Reads the
 * store, looks at what runs, and fetches at most the release; writes nothing, starts nothing, keeps nothing.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Rehearsal, RehearsalSchema } from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import {
  type Assignment,
  AssignmentSchema,
} from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { BlueprintSchema } from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import type { Envelope } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { KeyPurpose } from "@holdfast/proto/holdfast/model/v1/keys_pb.js";
import type { Clock } from "@holdfast/shared/clock.ts";
import { asFault, Fault } from "@holdfast/shared/fault.ts";
import { judgeCandidate, keysOf } from "../assignments/judge.ts";
import type { Step } from "../drivers/driver.ts";
import type { Identity } from "../link/port.ts";
import * as attempts from "../store/attempts.ts";
import type { Store } from "../store/database.ts";
import * as pins from "../store/pins.ts";
import { STEP_CLASSES } from "./attempt-message.ts";
import type { Engine } from "./engine.ts";
import { givenTo } from "./given.ts";
import { findHold, judgeConsent, type Plan, planAttempt } from "./plan.ts";
import { wantedOf } from "./rendering.ts";
import { bounded } from "./snapshots.ts";
import { stepsDigestOf } from "./steps-digest.ts";
import { type Target, targetFrom } from "./target.ts";
import { driverOf, type Work, within } from "./work.ts";

/** All of a rehearsal, the fetch of a release included. */
export const REHEARSE_MS_MAX = 20_000;
const PREPARE_MS_MAX = 10_000;

export type RehearseDeps = Readonly<{
  store: Store;
  engine: Engine;
  clock: Clock;
  identity(): Identity;
  /** The release that an assignment names, fetched where it is not here, judged, and not kept. */
  release(assignment: Assignment): Promise<Envelope>;
  hubNow(): number;
}>;

/** Never throws for bad content: why it could not be rehearsed is in the answer. */
export async function rehearse(
  deps: RehearseDeps,
  id: string,
  candidate: Envelope | undefined,
): Promise<Rehearsal> {
  try {
    const keys = keysOf(pins.findKeySet(deps.store, KeyPurpose.ASSIGNMENT));
    const assignment = judgeCandidate(candidate, keys, deps.identity(), deps.hubNow());
    const found = await bounded(deps.clock, REHEARSE_MS_MAX, "rehearsal", () =>
      look(deps, assignment),
    );
    return create(RehearsalSchema, { id, instanceId: assignment.instanceId, ...found });
  } catch (error) {
    const { reason, message } = asFault(error, "the rehearsal failed");
    return create(RehearsalSchema, { id, reason, message });
  }
}

async function look(deps: RehearseDeps, assignment: Assignment) {
  const { instanceId } = assignment;
  const work = withComing(deps.engine.visitorOf(instanceId), deps.identity().agentId);
  const payload = toBinary(AssignmentSchema, assignment);
  const isTombstone = assignment.tombstone !== undefined;
  const release = isTombstone ? undefined : await deps.release(assignment);
  const blueprint = release && fromBinary(BlueprintSchema, release.payload);
  const wanted = targetFrom(assignment, payload, blueprint);
  const target = { ...wanted, given: givenTo(work, wanted).given };
  const hold = findHold(work, target);
  const fetched = [...target.artefacts.values()].filter(
    ({ digest }) => !work.artefacts.has(digest),
  );
  const missing = [
    ...(hold === undefined ? [] : [`${hold.reason}: ${hold.message}`]),
    ...fetched.map(({ name, digest, size }) => `artefact ${name}: ${size} bytes of ${digest}`),
  ];
  // Without its driver nobody can say what would be done.
  if (hold?.reason === "DRIVER_MISSING") return { steps: [], holds: [], missing };
  const plan = await planAttempt(work, target);
  const consent = judgeConsent(work, target, plan);
  const holds = consent === undefined ? [] : [consent.message];
  const isLocal = hold === undefined && fetched.length === 0;
  const refusals = isLocal ? await prepare(work, target, plan) : [];
  return {
    ...{ holds, missing: [...missing, ...refusals] },
    steps: plan.steps.map(shownStep),
    stepsDigest: stepsDigestOf(plan),
    notAtomic: [...notAtomic(work, plan)],
  };
}

/** What is sealed to this agent comes with the wish, so it is not missing. */
function withComing(work: Work, agentId: string): Work {
  const { secrets } = work;
  const stamp: typeof secrets.stamp = (instanceId, use) =>
    use.sealed?.agentId === agentId ? use.sealed.digest : secrets.stamp(instanceId, use);
  return { ...work, secrets: { stamp, read: (...use) => secrets.read(...use) } };
}

/** The drivers' dry run of what would change and is rendered to the end. */
async function prepare(work: Work, target: Target, plan: Plan): Promise<readonly string[]> {
  const { artefacts, secrets, instanceId } = work;
  const committed = attempts.findCommitted(work.store, instanceId)?.resources ?? [];
  const refusals: string[] = [];
  for (const rendering of plan.renderings) {
    const { resourceId, kind, digest } = rendering;
    const isKept = committed.some((each) => each.id === resourceId && each.digest === digest);
    if (isKept || plan.open.has(resourceId) || !target.isRunning) continue;
    try {
      const wanted = await wantedOf(rendering, instanceId, artefacts.pathOf, secrets);
      await within(work, PREPARE_MS_MAX, `prepare ${resourceId}`, (context) =>
        driverOf(work, kind).prepare(wanted, context),
      );
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      if (error.reason === "SECRET_MISSING") continue;
      refusals.push(`${resourceId}: ${error.reason}: ${error.message}`);
    }
  }
  return refusals;
}

/** Without its input: that is for the driver, and may grow large. */
function shownStep({
  id,
  resourceId: resource,
  verb,
  class: stepClass,
  summary,
  when,
  undo,
}: Step) {
  return {
    ...{ id, resource, verb, summary },
    stepClass: STEP_CLASSES[stepClass],
    undo: undo?.summary ?? "",
    afterCommit: when === "after-commit",
  };
}

/** One line for each resource of which not every request is answered, or which may not come back as it was. */
function notAtomic(work: Work, { steps }: Plan): readonly string[] {
  const due = steps.filter(({ when }) => when === "before-commit");
  return [...new Set(due.map(({ resourceId }) => resourceId))].flatMap((id) => {
    const own = due.filter(({ resourceId }) => resourceId === id);
    const last = own.find((step) => step.class === "irreversible");
    if (last !== undefined) return [`${id}: ${last.summary}; there is no way back after it`];
    const gap = own.find((step) => step.class === "compensable");
    if (gap !== undefined) return [`${id}: ${gap.summary}`];
    // Of what runs to its end nothing serves.
    const claims = own.every(({ kind }) => {
      const { isAtomic, runsToEnd = false } = driverOf(work, kind);
      return isAtomic || runsToEnd;
    });
    return claims
      ? []
      : [`${id}: its driver does not keep the old one serving while it is changed`];
  });
}
