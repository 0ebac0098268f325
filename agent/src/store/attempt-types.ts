/** What is kept of attempts, of what they were rendered to and of what was committed. */
import type { AttemptState } from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import type { Generation } from "@holdfast/shared/generation.ts";
import type { JsonObject, Step } from "../drivers/driver.ts";
import type { SealedUse } from "../secrets/secrets.ts";

/** Names of AttemptState and StepState as they are stored and shown. */
export type AttemptStateName = Exclude<keyof typeof AttemptState, "UNSPECIFIED">;
export type StepStateName = "PLANNED" | "BEGUN" | "DONE" | "FAILED" | "UNDONE";
export type Phase = "APPLYING" | "UNDOING" | "CLEANING" | "ENDED";

/** A step as people see it. */
export type ShownStep = Readonly<{
  id: string;
  resource: string;
  summary: string;
  class: Step["class"];
  when: Step["when"];
  /** What takes it back, in one line; empty if nothing does. */
  undo: string;
  state: StepStateName;
  message: string;
  durationMs: number;
  /** Wall clock, ms; absent before it began. */
  startedAt?: number;
  /** What it gave out. */
  outputs?: JsonObject;
}>;

/** Where a resource is after an attempt that had no way back: BETWEEN, if some of its steps are done. */
export type ResourceTruth = Readonly<{
  id: string;
  at: "WANTED" | "BEFORE" | "BETWEEN";
  /** That it is at, or on its way to; undefined: nothing of it was there. */
  generation: Generation | undefined;
  message: string;
}>;

export type AttemptRecord = Readonly<{
  instanceId: string;
  /** Grows by one with each attempt of the instance. */
  id: number;
  generation: Generation;
  releaseVersion: string;
  /** With the generation the identity of an attempt: the same one is not tried twice. */
  inputsDigest: string;
  phase: Phase;
  state: AttemptStateName;
  reason: string;
  message: string;
  steps: readonly ShownStep[];
  /** Of the step list as it was judged, with its typed holes; empty if there was none. */
  stepsDigest: string;
  /** After a PARTIAL one: which resource is where. */
  resources?: readonly ResourceTruth[];
  /** What was published after the commit. */
  outputs?: JsonObject;
  startedAt: number;
  endedAt: number | undefined;
  /** Present: this is no try of a new generation, but new copies of the one that serves. */
  restart?: Restart;
}>;

/** What a restart replaces, decided before it begins. */
export type Restart = Readonly<{
  actionId: string;
  resources: readonly string[];
  /** Identities of their copies: none of these counts as the new one. */
  replaced: readonly string[];
  /** Of the assignment that was held then: another one ends the restart. */
  wishDigest: string;
}>;

export type JournalState = "PLANNED" | "BEGUN" | "DONE" | "FAILED" | "UNDOING" | "UNDONE";

/** One step of the running attempt in its newest state. */
export type JournalEntry = Readonly<{
  position: number;
  state: JournalState;
  step: Step;
  /** Of a step that failed: it had begun to act. */
  hasActed?: boolean;
}>;

/** A rendered resource without its secrets. */
export type Rendering = Readonly<{
  digest: string;
  resourceId: string;
  kind: string;
  generation: Generation;
  releaseVersion: string;
  spec: JsonObject;
  /** Paths of its texts in which secrets are named still. */
  secretTexts: readonly string[];
  /** Artefact name to digest and to media type. */
  artefacts: Readonly<Record<string, Readonly<{ digest: string; mediaType: string }>>>;
  /** Secret name to the name of the agent-local secret; those that are sealed are not among them. */
  secrets: Readonly<Record<string, string>>;
  /** Secret name to the sealed one. */
  sealed: Readonly<Record<string, SealedUse>>;
}>;

export type Committed = Readonly<{
  instanceId: string;
  generation: Generation;
  assignmentDigest: string;
  releaseDigest: string;
  releaseVersion: string;
  /** The payload of its assignment: with the release all that is needed to render it again. */
  assignment: Uint8Array;
  /** False: this generation says that nothing is to run. */
  isRunning: boolean;
  /** What it was rendered with of other instances' outputs, by the name that the release gives each. */
  given: Readonly<Record<string, Readonly<{ outputs: JsonObject }>>>;
  /** In dependency order. */
  resources: readonly Readonly<{ id: string; kind: string; digest: string }>[];
  committedAt: number;
}>;
