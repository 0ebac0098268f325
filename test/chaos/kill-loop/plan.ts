/**
 * What happens in a round of the kill loop and when, from a seed alone: which instance is left in peace, what is wanted
 * of the other, who is killed or frozen, how the network is. Pure.
 */
import type { Random } from "@holdfast/shared/clock.ts";
import { seeded } from "../../../sim/src/chance.ts";

export const INSTANCES = ["etl-free", "etl"] as const;
export type InstanceName = (typeof INSTANCES)[number];
export const PROGRAMS = ["hub", "database", "agent-hosted", "agent-byoa"] as const;
export type ProgramName = (typeof PROGRAMS)[number];

/** 1.2.0 never gets ready, and is returned from. */
export type Wish = Readonly<{
  release: "1.0.0" | "1.1.0" | "1.2.0";
  pollMs: number;
  isRunning: boolean;
}>;

export type Action =
  | Readonly<{ kind: "change"; wish: Wish }>
  /** Whoever starts it again does so after this. */
  | Readonly<{
      kind: "kill";
      target: ProgramName;
      signal: "SIGKILL" | "SIGTERM";
      downMs: number;
    }>
  | Readonly<{ kind: "kill-workload" }>
  | Readonly<{ kind: "freeze"; target: ProgramName | InstanceName; forMs: number }>
  /** Orders to the proxy between agents and hub. */
  | Readonly<{ kind: "network"; orders: readonly string[] }>
  /** The cable of the agent that has a network of its own. */
  | Readonly<{ kind: "unplug"; forMs: number }>;

export type Plan = Readonly<{
  round: number;
  /** Nothing is asked of it and it is not killed: its processes must be the same afterwards. */
  quiet: InstanceName;
  busy: InstanceName;
  actions: readonly Readonly<{ atMs: number; action: Action }>[];
  /** What the busy one is to be when all is well again. */
  final: Wish;
  /** Then a release that never gets ready: it is returned from, and what serves is not touched. */
  failsAfterwards: boolean;
}>;

const PAUSE_MS = { min: 50, max: 1_200 };
const DOWN_MS_MAX = 3_000;
/** Below the three failed liveness checks, 5 s apart, that are a good cause to restart a workload. */
const FREEZE_WORKLOAD_MS_MAX = 2_500;
const FREEZE_MS_MAX = 6_000;
const UNPLUG_MS_MAX = 6_000;
/** A crash loop is a cause of its own for a workload to be away for long. */
const WORKLOAD_KILLS_MAX = 2;
const FAILS_SHARE = 0.25;
const ORDERLY_SHARE = 0.25;

export function planRound(seed: number, round: number, lengthMs: number): Plan {
  const random = seeded(seed, `round ${round}`);
  const quiet = pick(random, INSTANCES);
  const busy = quiet === "etl" ? "etl-free" : "etl";
  const actions: { atMs: number; action: Action }[] = [];
  let kills = 0;
  for (let atMs = 0; atMs < lengthMs; ) {
    const action = actionOf(random, busy, kills < WORKLOAD_KILLS_MAX);
    if (action.kind === "kill-workload") kills += 1;
    actions.push({ atMs, action });
    atMs += Math.round(between(random, PAUSE_MS.min, PAUSE_MS.max));
  }
  const release = pick(random, ["1.0.0", "1.1.0"] as const);
  const final = { ...wishOf(random, round), release, isRunning: true };
  return { round, quiet, busy, actions, final, failsAfterwards: random() < FAILS_SHARE };
}

function actionOf(random: Random, busy: InstanceName, mayKillWorkload: boolean): Action {
  const chance = random();
  if (chance < 0.3) return { kind: "change", wish: wishOf(random, random()) };
  if (chance < 0.5) {
    const downMs = Math.round(random() * DOWN_MS_MAX);
    const target = pick(random, PROGRAMS);
    // A database that ends in order waits for its clients, which is the hub's own matter.
    const isOrderly = target !== "database" && random() < ORDERLY_SHARE;
    return { kind: "kill", target, signal: isOrderly ? "SIGTERM" : "SIGKILL", downMs };
  }
  if (chance < 0.58 && mayKillWorkload) return { kind: "kill-workload" };
  if (chance < 0.76) {
    const target = pick(random, [...PROGRAMS, busy, busy]);
    const isWorkload = target === busy;
    const msMax = isWorkload ? FREEZE_WORKLOAD_MS_MAX : FREEZE_MS_MAX;
    return { kind: "freeze", target, forMs: Math.round(200 + random() * (msMax - 200)) };
  }
  if (chance < 0.84) return { kind: "unplug", forMs: Math.round(random() * UNPLUG_MS_MAX) };
  return { kind: "network", orders: ordersOf(random) };
}

function wishOf(random: Random, salt: number): Wish {
  const release = pick(random, ["1.0.0", "1.0.0", "1.1.0", "1.1.0", "1.1.0", "1.2.0"] as const);
  // Another value each time, so that every wish is a new generation.
  const pollMs = 100 + Math.floor(random() * 900) + Math.floor(salt % 7);
  return { release, pollMs, isRunning: random() < 0.85 };
}

const NETWORKS: readonly (readonly string[])[] = [
  ["clear"],
  ["delay=40ms", "jitter=60ms"],
  ["delay=100ms", "loss=5%"],
  ["bandwidth=32KiB"],
  ["half-open=on"],
  ["half-open=off"],
  ["reset=on", "cuts=every=1500ms,for=300ms"],
  ["reset=off", "cuts=off"],
  ["cut=2s"],
  ["drop"],
];

function ordersOf(random: Random): readonly string[] {
  return pick(random, NETWORKS);
}

function between(random: Random, min: number, max: number): number {
  return min + random() * (max - min);
}

function pick<Item>(random: Random, items: readonly Item[]): Item {
  const item = items[Math.floor(random() * items.length)];
  if (item === undefined) throw new RangeError("nothing to pick from");
  return item;
}

export function describeAction(action: Action): string {
  switch (action.kind) {
    case "change": {
      const { release, pollMs, isRunning } = action.wish;
      return `change to ${release}, pollMs ${pollMs}${isRunning ? "" : ", stopped"}`;
    }
    case "kill":
      return `${action.signal} to ${action.target}, started again after ${action.downMs} ms`;
    case "kill-workload":
      return "kill -9 of a workload";
    case "freeze":
      return `SIGSTOP ${action.target} for ${action.forMs} ms`;
    case "network":
      return `network: ${action.orders.join(" ")}`;
    case "unplug":
      return `unplug the agent of byoa for ${action.forMs} ms`;
  }
}
