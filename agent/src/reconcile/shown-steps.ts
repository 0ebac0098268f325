/** Steps as people see them: in the record of an attempt, in the status and on the command line. Pure. */
import type { JsonObject, Step } from "../drivers/driver.ts";
import type { JournalState, ShownStep, StepStateName } from "../store/attempts.ts";

const MESSAGE_CHARS_MAX = 1_000;
/** Of what one step gave out, as JSON; more is not shown. */
const OUTPUTS_CHARS_MAX = 2_000;

export type StepEnd = Readonly<{ message?: string; durationMs?: number; outputs?: JsonObject }>;

const SHOWN_STATE: Readonly<Record<JournalState, StepStateName>> = {
  PLANNED: "PLANNED",
  BEGUN: "BEGUN",
  DONE: "DONE",
  FAILED: "FAILED",
  UNDOING: "BEGUN",
  UNDONE: "UNDONE",
};

export function plannedSteps(steps: readonly Step[]): readonly ShownStep[] {
  return steps.map((step) => shownOf(step, "PLANNED"));
}

function shownOf(step: Step, state: StepStateName): ShownStep {
  const { id, resourceId: resource, summary, class: stepClass, when, undo } = step;
  const shown = { id, resource, summary, class: stepClass, when, undo: undo?.summary ?? "" };
  return { ...shown, state, message: "", durationMs: 0 };
}

/** With the step in this state; what is not said anew stays. */
export function withStep(
  steps: readonly ShownStep[],
  step: Step,
  state: JournalState,
  at: number,
  { message = "", durationMs = 0, outputs }: StepEnd = {},
): readonly ShownStep[] {
  const known = steps.find(({ id }) => id === step.id);
  const before = known ?? shownOf(step, "PLANNED");
  const shown: ShownStep = {
    ...before,
    state: SHOWN_STATE[state],
    message: message === "" ? before.message : cut(message),
    durationMs: durationMs === 0 ? before.durationMs : durationMs,
    ...(state === "BEGUN" && { startedAt: at }),
    ...(outputs !== undefined && isShort(outputs) && { outputs }),
  };
  if (known === undefined) return [...steps, shown];
  return steps.map((each) => (each === known ? shown : each));
}

function isShort(outputs: JsonObject): boolean {
  return JSON.stringify(outputs).length <= OUTPUTS_CHARS_MAX;
}

export function cut(message: string): string {
  return message.length > MESSAGE_CHARS_MAX ? `${message.slice(0, MESSAGE_CHARS_MAX)}…` : message;
}
