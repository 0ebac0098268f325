/** Conditions on what every object has, by which any list can be narrowed. Values are bound, never written out. */
import type { Condition } from "./objects.ts";

export function nameIs(name: string): Condition {
  return (bind) => `t.name = ${bind(name)}`;
}

/** Literal text: no character of it is a pattern. */
export function nameContains(text: string): Condition {
  return (bind) => `strpos(t.name, ${bind(text)}) > 0`;
}

export const TIME_COMPARISONS = ["<", "<=", ">", ">="] as const;
export type TimeComparison = (typeof TIME_COMPARISONS)[number];

export function created(comparison: TimeComparison, time: Date): Condition {
  return (bind) => `t.created_at ${comparison} ${bind(time)}`;
}
