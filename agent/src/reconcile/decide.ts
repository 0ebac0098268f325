/**
 * What the loop of an instance does next. Pure: from what is wanted, what is committed and how the last attempt
 * ended. Absence never deletes: without a wish nothing is touched.
 */
import type { Machine } from "@holdfast/shared/flight/machine.ts";
import { compareGenerations, type Generation } from "@holdfast/shared/generation.ts";
import type { AttemptRecord } from "../store/attempts.ts";

export type Hold = Readonly<{ reason: string; message: string }>;

/** What of the last attempt matters for the next one. */
export type LastAttempt = Pick<AttemptRecord, "phase" | "state" | "inputsDigest" | "generation">;

export type Situation = Readonly<{
  wanted: Readonly<{ generation: Generation; tombstone: boolean; removed: boolean }> | undefined;
  /** Digest of all that goes into the attempt that would be made now. */
  inputsDigest: string;
  committed: Generation | undefined;
  /** What it takes from other instances is not any more what it was committed with. */
  isOutdated: boolean;
  attempt: LastAttempt | undefined;
  hold: Hold | undefined;
}>;

export type Decision =
  /** A crash or a shutdown left an attempt in the middle. */
  | Readonly<{ kind: "resume" }>
  | Readonly<{ kind: "remove" }>
  | Readonly<{ kind: "attempt" }>
  /** Nothing changes until the reason is gone; what serves is looked after. */
  | Readonly<{ kind: "hold"; hold: Hold }>
  /** Wanted and committed are the same, or the attempt failed: look after what serves. */
  | Readonly<{ kind: "settle" }>
  | Readonly<{ kind: "nothing" }>;

/** Attempts that ended in one of these are not made again with the same inputs. */
const HELD_STATES: readonly string[] = ["RETURNED", "PARTIAL"];

export function decide(situation: Situation): Decision {
  const { wanted, inputsDigest, committed, isOutdated, attempt, hold } = situation;
  if (wanted === undefined) return { kind: "nothing" };
  const isOpen = attempt !== undefined && attempt.phase !== "ENDED";
  if (wanted.tombstone) {
    if (wanted.removed) return { kind: "nothing" };
    // What was under way is undone first; a removal that has begun is not held any more.
    const isRemoval = isOpen && compareGenerations(attempt.generation, wanted.generation) === 0;
    if (isOpen && !isRemoval) return { kind: "resume" };
    return isRemoval || hold === undefined ? { kind: "remove" } : { kind: "hold", hold };
  }
  if (isOpen) return { kind: "resume" };
  const isCommitted =
    !isOutdated &&
    committed !== undefined &&
    compareGenerations(committed, wanted.generation) === 0;
  if (isCommitted) return { kind: "settle" };
  const wasTried =
    attempt !== undefined &&
    HELD_STATES.includes(attempt.state) &&
    attempt.inputsDigest === inputsDigest &&
    compareGenerations(attempt.generation, wanted.generation) === 0;
  if (wasTried) return { kind: "settle" };
  return hold === undefined ? { kind: "attempt" } : { kind: "hold", hold };
}

export type InstanceState = Readonly<{ phase: Decision["kind"] | "new" }>;

/** The decisions of one loop, in the form of all protocol logic, so that they can be written down and run again. */
export const decideMachine: Machine<InstanceState, Situation, Decision> = {
  name: "instance",
  step(_, situation) {
    const decision = decide(situation);
    return [{ phase: decision.kind }, [decision]];
  },
  words: new Set(
    Object.keys({
      ...{ new: 0, resume: 0, remove: 0, attempt: 0, hold: 0, settle: 0, nothing: 0 },
    } satisfies Record<InstanceState["phase"], 0>),
  ),
};
