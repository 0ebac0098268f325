/** Attempts as the hub and people are told of them. Pure. */
import { create, type JsonObject as MessageJson } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { StepClass } from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import {
  type Attempt,
  AttemptSchema,
  AttemptState,
  type AttemptStep,
  AttemptStepSchema,
  ResourcePlace,
  StepState,
} from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import type { Refusal } from "../store/assignments.ts";
import type { AttemptRecord, ShownStep } from "../store/attempts.ts";

/** Of each attempt before the last one; a status of five such attempts stays far below what the link takes. */
const PAST_STEPS_MAX = 40;

export const STEP_CLASSES = {
  reversible: StepClass.REVERSIBLE,
  compensable: StepClass.COMPENSABLE,
  irreversible: StepClass.IRREVERSIBLE,
} as const;

export function attemptMessage(record: AttemptRecord): Attempt {
  return messageOf(record, record.steps);
}

/** Those that failed or were not done are told rather than others. */
export function pastMessage(record: AttemptRecord): Attempt {
  const { steps } = record;
  const odd = steps.filter(({ state }) => state !== "DONE");
  const told = new Set([...odd, ...steps].slice(0, PAST_STEPS_MAX));
  return messageOf(
    record,
    steps.filter((step) => told.has(step)),
  );
}

export function refusalMessage(refusal: Refusal): Attempt {
  const { generation, releaseVersion, reason, message } = refusal;
  const at = timestampFromMs(refusal.at);
  return create(AttemptSchema, {
    ...{ generation, releaseVersion, reason, message },
    state: AttemptState.REFUSED,
    startTime: at,
    endTime: at,
  });
}

function messageOf(record: AttemptRecord, steps: readonly ShownStep[]): Attempt {
  const { id, generation, releaseVersion, message, stepsDigest, endedAt, outputs } = record;
  return create(AttemptSchema, {
    ...{ generation, releaseVersion, message, stepsDigest },
    id: BigInt(id),
    state: AttemptState[record.state],
    reason: record.reason.replace(/^LATER:/, ""),
    startTime: timestampFromMs(record.startedAt),
    ...(endedAt !== undefined && { endTime: timestampFromMs(endedAt) }),
    steps: steps.map(stepMessage),
    stepsLeftOut: record.steps.length - steps.length,
    resources: (record.resources ?? []).map(({ generation: its, at, ...rest }) => ({
      ...rest,
      place: ResourcePlace[at],
      ...(its !== undefined && { generation: its }),
    })),
    ...(outputs !== undefined && { outputs: outputs as MessageJson }),
  });
}

function stepMessage(step: ShownStep): AttemptStep {
  const { id, resource, summary, undo, message, durationMs, startedAt, outputs } = step;
  return create(AttemptStepSchema, {
    ...{ id, resource, summary, undo, message },
    stepClass: STEP_CLASSES[step.class],
    state: StepState[step.state],
    durationMs: BigInt(durationMs),
    ...(startedAt !== undefined && { startTime: timestampFromMs(startedAt) }),
    ...(outputs !== undefined && { outputs: outputs as MessageJson }),
  });
}
