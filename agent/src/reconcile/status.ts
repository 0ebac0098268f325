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
  AttemptSchema,
  AttemptState,
  type InstanceStatus,
  InstanceStatusSchema,
  StepState,
} from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import type { Committed } from "../store/attempts.ts";
import { conditionsOf, type InstanceView } from "./conditions.ts";

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
    finalizers: [...view.finalizers],
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
    return create(AttemptSchema, {
      generation: refusal.generation,
      releaseVersion: refusal.releaseVersion,
      state: AttemptState.REFUSED,
      reason: refusal.reason,
      message: refusal.message,
      startTime: timestampFromMs(refusal.at),
      endTime: timestampFromMs(refusal.at),
    });
  }
  if (attempt === undefined) return undefined;
  const { endedAt } = attempt;
  return create(AttemptSchema, {
    generation: attempt.generation,
    releaseVersion: attempt.releaseVersion,
    state: AttemptState[attempt.state],
    reason: attempt.reason.replace(/^LATER:/, ""),
    message: attempt.message,
    startTime: timestampFromMs(attempt.startedAt),
    ...(endedAt !== undefined && { endTime: timestampFromMs(endedAt) }),
    steps: attempt.steps.map(({ id, summary, state, message, durationMs }) => ({
      id,
      summary,
      state: StepState[state],
      message,
      durationMs: BigInt(durationMs),
    })),
  });
}
