/**
 * What a control stream does next, as a pure reducer; the session runs the effects. Level-triggered: a ring says only
 * that something may differ, and at most one look at desired state and one at orders is under way.
 *
 * welcoming -> up (welcomed) -> over (ended)
 */
import { fullJitter } from "@holdfast/shared/backoff.ts";
import type { Random } from "@holdfast/shared/clock.ts";
import type { Machine } from "@holdfast/shared/flight/machine.ts";
import { NOTE_JITTER_MS, NOTE_MS_MIN, RETRY_BACKOFF } from "./limits.ts";

type Look = Readonly<{
  at: "idle" | "looking" | "waiting";
  /** Rung since the look that is under way began. */
  isDue: boolean;
  /** In a row. */
  failures: number;
}>;

export type LookName = "offers" | "orders";

export type ControlState = Readonly<{
  phase: "welcoming" | "up" | "over";
  offers: Look;
  orders: Look;
  /** Something was offered since the looks began. */
  hasOffered: boolean;
  /** The looks are for a change, which makes a new note due; the first ones are not. */
  isChange: boolean;
  isNoteComing: boolean;
}>;

export type ControlEvent =
  /** Welcome, key sets and the first note are written. */
  | Readonly<{ type: "welcomed"; held: number; hasOrders: boolean }>
  /** Desired state may have changed; there may be orders. */
  | Readonly<{ type: "changed" | "ordered" }>
  /** One page of what differs is written; `isNews`: the agent did not hold all of it. */
  | Readonly<{ type: "offered"; written: number; isNews: boolean; more: boolean }>
  | Readonly<{ type: "orders-given"; written: number }>
  /** The look could not be taken now. */
  | Readonly<{ type: "failed"; look: LookName; reason: string }>
  | Readonly<{ type: "timer"; timer: TimerName }>
  | Readonly<{ type: "ended"; reason: string }>;

type TimerName = LookName | "note";

export type ControlEffect =
  | Readonly<{ type: "look"; look: LookName }>
  /** Write a freshness note made now. */
  | Readonly<{ type: "note" }>
  | Readonly<{ type: "timer"; timer: TimerName; afterMs: number }>;

type Step = readonly [ControlState, readonly ControlEffect[]];
type Word =
  | ControlState["phase"]
  | Look["at"]
  | TimerName
  | ControlEvent["type"]
  | ControlEffect["type"];

const IDLE: Look = { at: "idle", isDue: false, failures: 0 };

export const CONTROL_START: ControlState = {
  phase: "welcoming",
  offers: IDLE,
  orders: IDLE,
  hasOffered: false,
  isChange: false,
  isNoteComing: false,
};

export const controlMachine: Machine<ControlState, ControlEvent, ControlEffect> = {
  name: "control",
  step: controlStep,
  words: new Set(
    Object.keys({
      ...{ welcoming: 0, up: 0, over: 0, idle: 0, looking: 0, waiting: 0 },
      ...{ offers: 0, orders: 0, note: 0, welcomed: 0, changed: 0, ordered: 0, offered: 0 },
      ...{ "orders-given": 0, failed: 0, timer: 0, ended: 0, look: 0 },
    } satisfies Record<Word, 0>),
  ),
};

export function controlStep(
  state: ControlState,
  event: ControlEvent,
  _now: number,
  random: Random,
): Step {
  if (state.phase === "over") return [state, []];
  switch (event.type) {
    case "welcomed":
      return welcomed({ ...state, phase: "up" }, event.hasOrders);
    case "changed":
      return rung({ ...state, isChange: true }, "offers");
    case "ordered":
      return rung(state, "orders");
    case "offered":
      return offered(state, event, random);
    case "orders-given":
      return looked(state, "orders");
    case "failed":
      return failed(state, event.look, random);
    case "timer":
      return timer(state, event.timer);
    case "ended":
      return [{ ...state, phase: "over" }, []];
  }
}

function welcomed(state: ControlState, hasOrders: boolean): Step {
  const [after, effects] = rung(state, "offers");
  if (!hasOrders) return [after, effects];
  const [last, more] = rung(after, "orders");
  return [last, [...effects, ...more]];
}

function rung(state: ControlState, look: LookName): Step {
  if (state[look].at === "idle") return begin(state, look);
  return [{ ...state, [look]: { ...state[look], isDue: true } }, []];
}

function begin(state: ControlState, look: LookName): Step {
  const next: Look = { ...state[look], at: "looking", isDue: false };
  return [{ ...state, [look]: next }, [{ type: "look", look }]];
}

function offered(
  state: ControlState,
  { written, isNews, more }: Extract<ControlEvent, { type: "offered" }>,
  random: Random,
): Step {
  // A page that told nothing new would come again for ever.
  const isDue = state.offers.isDue || (more && isNews);
  const hasOffered = state.hasOffered || written > 0;
  const [next, effects] = looked(
    { ...state, hasOffered, offers: { ...state.offers, isDue } },
    "offers",
  );
  if (next.offers.at !== "idle") return [next, effects];
  const calm = { ...next, hasOffered: false, isChange: false };
  // The note lists the latest digests, so a change makes a new one due. Not at once: several changes share one note,
  // and a change of a whole fleet is told before its notes are signed.
  if (!hasOffered || !state.isChange || state.isNoteComing) return [calm, effects];
  const jitterMs = fullJitter({ baseMs: NOTE_JITTER_MS, capMs: NOTE_JITTER_MS }, 0, random);
  const soon: ControlEffect = { type: "timer", timer: "note", afterMs: NOTE_MS_MIN + jitterMs };
  return [{ ...calm, isNoteComing: true }, [...effects, soon]];
}

function looked(state: ControlState, look: LookName): Step {
  const well: ControlState = { ...state, [look]: { ...state[look], at: "idle", failures: 0 } };
  return state[look].isDue ? begin(well, look) : [well, []];
}

function failed(state: ControlState, look: LookName, random: Random): Step {
  const { failures } = state[look];
  const next: Look = { at: "waiting", isDue: true, failures: failures + 1 };
  const afterMs = fullJitter(RETRY_BACKOFF, failures, random);
  return [{ ...state, [look]: next }, [{ type: "timer", timer: look, afterMs }]];
}

function timer(state: ControlState, name: TimerName): Step {
  if (name === "note") return [{ ...state, isNoteComing: false }, [{ type: "note" }]];
  return state[name].at === "waiting" ? begin(state, name) : [state, []];
}
