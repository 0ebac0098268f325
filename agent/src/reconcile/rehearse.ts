/** What an assignment would do, without doing it: the plan, the rules that would hold it, what is missing. */
import { create, type JsonObject as MessageJson } from "@bufbuild/protobuf";
import {
  type Rehearsal,
  RehearsalSchema,
  StepClass,
} from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import type { Envelope } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { KeyPurpose } from "@holdfast/proto/holdfast/model/v1/keys_pb.js";
import { asFault } from "@holdfast/shared/fault.ts";
import { judgeAssignment, keysOf } from "../assignments/judge.ts";
import type { Identity } from "../link/port.ts";
import * as assignments from "../store/assignments.ts";
import type { Store } from "../store/database.ts";
import * as pins from "../store/pins.ts";
import type { Engine } from "./engine.ts";
import { findHold, judgeConsent, planAttempt } from "./plan.ts";
import { targetOf } from "./target.ts";

export type RehearseDeps = Readonly<{ store: Store; engine: Engine; identity(): Identity }>;

const CLASSES = {
  reversible: StepClass.REVERSIBLE,
  compensable: StepClass.COMPENSABLE,
  irreversible: StepClass.IRREVERSIBLE,
} as const;

/** Never throws for bad content: what is wrong with it is in the answer. */
export async function rehearse(
  { store, engine, identity }: RehearseDeps,
  id: string,
  envelope: Envelope | undefined,
): Promise<Rehearsal> {
  try {
    const keys = keysOf(pins.findKeySet(store, KeyPurpose.ASSIGNMENT));
    const { assignment } = judgeAssignment(envelope, keys, identity(), undefined);
    const { instanceId } = assignment;
    const work = engine.workOf(instanceId) ?? engine.visitorOf(instanceId);
    if (assignments.findRelease(store, assignment.releaseDigest) === undefined) {
      const missing = [`release ${assignment.releaseVersion} is not on this agent yet`];
      return create(RehearsalSchema, { id, instanceId, missing });
    }
    const target = targetOf(store, envelope?.payload ?? new Uint8Array());
    const hold = findHold(work, target);
    const plan = await planAttempt(work, target);
    const consent = judgeConsent(work, target, plan);
    return create(RehearsalSchema, {
      id,
      instanceId,
      steps: plan.steps.map((step) => ({
        id: step.id,
        resource: step.resourceId,
        verb: step.verb,
        stepClass: CLASSES[step.class],
        summary: step.summary,
        input: step.input as MessageJson,
      })),
      holds: consent === undefined ? [] : [consent.message],
      missing: hold === undefined ? [] : [`${hold.reason}: ${hold.message}`],
    });
  } catch (error) {
    const { reason, message } = asFault(error, "the rehearsal failed");
    return create(RehearsalSchema, { id, holds: [`${reason}: ${message}`] });
  }
}
