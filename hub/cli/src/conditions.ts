/** What is wrong with an object, from its conditions. Never merged into one truth: only sorted for the eye. */
import { escapeControls } from "@holdfast/shared/text.ts";
import { at, listAt, textAt } from "./format.ts";
import type { ObjectView } from "./object-calls.ts";

export type ConditionLine = Readonly<{
  type: string;
  status: string;
  reason: string;
  message: string;
  time: string | undefined;
  /** 0: as it should be; 1: unknown; 2: not as it should be. */
  severity: 0 | 1 | 2;
}>;

/** The one condition that is good when it is False. */
const GOOD_IF_FALSE = "Drifted";
/** What users feel comes first, then causes before what follows from them. */
const BY_WEIGHT = ["Ready", "Healthy", "Connected", "Allowed", "InSync", "Metered", "Drifted"];

export function conditionsOf(view: ObjectView): readonly ConditionLine[] {
  return listAt(view, "status.conditions").map((each) => {
    const type = textAt(each, "type");
    const status = textAt(each, "status");
    const good = type === GOOD_IF_FALSE ? "False" : "True";
    const time = at(each, "lastTransitionTime");
    const message = at(each, "message");
    return {
      type,
      status,
      reason: textAt(each, "reason"),
      message: typeof message === "string" ? escapeControls(message) : "",
      time: typeof time === "string" ? time : undefined,
      severity: status === good ? 0 : status === "Unknown" ? 1 : 2,
    };
  });
}

/** The heaviest problem; undefined if all is as it should be or nothing is known. */
export function worstOf(view: ObjectView): ConditionLine | undefined {
  const weight = ({ type }: ConditionLine) => {
    const index = BY_WEIGHT.indexOf(type);
    return index < 0 ? BY_WEIGHT.length : index;
  };
  return conditionsOf(view)
    .filter(({ severity }) => severity > 0)
    .sort((a, b) => b.severity - a.severity || weight(a) - weight(b))[0];
}

/** One word for a table: `Ready`, `NotReady`, `Ready?`, `Deleting`; `-` without conditions. */
export function stateOf(view: ObjectView): string {
  if (at(view, "metadata.deleteTime") !== undefined) return "Deleting";
  const types = conditionsOf(view).map(({ type }) => type);
  const worst = worstOf(view);
  if (worst === undefined) return BY_WEIGHT.find((type) => types.includes(type)) ?? "-";
  if (worst.severity === 1) return `${worst.type}?`;
  return worst.type === GOOD_IF_FALSE ? worst.type : `Not${worst.type}`;
}

/** Reason and message of the worst condition. */
export function whyOf(view: ObjectView): string {
  const worst = worstOf(view);
  if (worst === undefined) return "";
  return worst.message === "" ? worst.reason : `${worst.reason}: ${worst.message}`;
}

/** Problems first, then by name. */
export function byProblem(a: ObjectView, b: ObjectView): number {
  const severity = (view: ObjectView) => worstOf(view)?.severity ?? 0;
  const key = (view: ObjectView) =>
    `${textAt(view, "metadata.tenant")}\0${textAt(view, "metadata.name")}`;
  return severity(b) - severity(a) || (key(a) < key(b) ? -1 : 1);
}
