/** The status message of an instance, from what is known of it. Pure. */
import { create, type JsonObject as MessageJson } from "@bufbuild/protobuf";
import { type Timestamp, timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type Condition,
  ConditionSchema,
  ConditionStatus,
} from "@holdfast/proto/holdfast/model/v1/condition_pb.js";
import {
  type Attempt,
  type InstanceStatus,
  InstanceStatusSchema,
} from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import type { Committed } from "../store/attempts.ts";
import { ATTEMPTS_KEPT_MAX } from "../store/past-attempts.ts";
import { attemptMessage, pastMessage, refusalMessage } from "./attempt-message.ts";
import { conditionsOf, type InstanceView } from "./conditions.ts";
import { driftMessage } from "./drift-message.ts";

/** `previous` gives the time since when a condition is as it is. */
export function statusOf(
  instanceId: string,
  view: InstanceView &
    Readonly<{ committed: Pick<Committed, "generation" | "releaseVersion"> | undefined }>,
  previous: InstanceStatus | undefined,
  now: number,
): InstanceStatus {
  const { wanted, committed, serving, removed } = view;
  const observed = wanted && { observedGeneration: wanted.generation };
  const attempt = attemptOf(view);
  return create(InstanceStatusSchema, {
    instanceId,
    ...observed,
    ...(committed !== undefined && {
      committedGeneration: committed.generation,
      committedReleaseVersion: committed.releaseVersion,
    }),
    conditions: conditionsOf(view).map(({ type, status, reason, message }) => {
      const state = ConditionStatus[status];
      const before = previous?.conditions.find((each) => each.type === type);
      const lastTransitionTime = sinceOf(before, state, now);
      return create(ConditionSchema, {
        type,
        status: state,
        reason,
        message,
        ...observed,
        lastTransitionTime,
      });
    }),
    ...(attempt !== undefined && { attempt }),
    ...(serving !== undefined && { outputs: serving.outputs as MessageJson }),
    resources: (serving?.resources ?? []).map(({ id, kind, phase, message, restarts, caveat }) => ({
      id,
      kind,
      phase,
      message: [message, caveat].filter((each) => each).join("; "),
      restarts: BigInt(restarts),
    })),
    removed,
    ...(view.drift !== undefined && { drift: driftMessage(view.drift) }),
    finalizers: [...view.finalizers],
    history: [...historyOf(view)],
    kept: view.kept.map(({ name, resource, bytes, since }) => {
      return { name, resource, bytes: BigInt(bytes), since: timestampFromMs(since) };
    }),
  });
}

function sinceOf(before: Condition | undefined, state: ConditionStatus, now: number): Timestamp {
  if (before?.status === state && before.lastTransitionTime !== undefined) {
    return before.lastTransitionTime;
  }
  return timestampFromMs(now);
}

/** The newest of the last attempt and the last refusal. */
function attemptOf({ attempt, refusal }: InstanceView): Attempt | undefined {
  if (refusal !== undefined && refusal.at >= (attempt?.startedAt ?? 0)) {
    return refusalMessage(refusal);
  }
  return attempt && attemptMessage(attempt);
}

/** An attempt that was refused did not take the place of the last one. */
function historyOf({ attempt, refusal, past }: InstanceView): readonly Attempt[] {
  const isHidden = refusal !== undefined && refusal.at >= (attempt?.startedAt ?? 0);
  const hidden = isHidden && attempt !== undefined && attempt.state !== "HELD" ? [attempt] : [];
  return [...hidden, ...past].slice(0, ATTEMPTS_KEPT_MAX - 1).map(pastMessage);
}
