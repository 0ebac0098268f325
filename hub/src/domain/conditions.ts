/**
 * Folds what an agent reports about an instance, and whether it is connected, into the conditions that
 * people see. Pure. Never merges conditions into one phase, and never takes silence for health.
 */
import {
  compareGenerations,
  formatGeneration,
  type Generation,
} from "@holdfast/shared/generation.ts";

/** In the order in which they are shown. */
export const CONDITION_TYPES = [
  "Connected",
  "Ready",
  "InSync",
  "Drifted",
  "Allowed",
  "Healthy",
  "Metered",
] as const;
export type ConditionType = (typeof CONDITION_TYPES)[number];
export type ConditionWord = "True" | "False" | "Unknown";

export type Condition = Readonly<{
  type: string;
  status: ConditionWord;
  reason: string;
  message: string;
  /** ISO 8601, UTC. */
  lastTransitionTime: string;
}>;

export type ConditionChange = Readonly<{ before: Condition | undefined; after: Condition }>;

/** Those that an agent may report; Connected is the hub's own knowledge. */
const REPORTED: ReadonlySet<string> = new Set(
  CONDITION_TYPES.filter((type) => type !== "Connected"),
);

/** The conditions to keep, in a fixed order, and which of them changed in status or reason. */
export function foldReport(
  kept: readonly Condition[],
  reported: readonly Omit<Condition, "lastTransitionTime">[],
  now: string,
): Readonly<{ conditions: readonly Condition[]; changes: readonly ConditionChange[] }> {
  const before = new Map(kept.map((each) => [each.type, each]));
  const latest = new Map(reported.map((each) => [each.type, each]));
  const conditions = CONDITION_TYPES.filter((type) => REPORTED.has(type)).flatMap((type) => {
    const said = latest.get(type);
    const old = before.get(type);
    if (said === undefined) return old === undefined ? [] : [old];
    const isSame = old !== undefined && old.status === said.status;
    return [{ ...said, lastTransitionTime: isSame ? old.lastTransitionTime : now }];
  });
  const changes = conditions
    .map((after) => ({ before: before.get(after.type), after }))
    .filter(
      ({ before: old, after }) => old?.status !== after.status || old.reason !== after.reason,
    );
  return { conditions, changes };
}

/** What the hub knows beside the reports. */
export type Surroundings = Readonly<{
  assigned: Generation;
  /** Newest generation that the agent accepted; undefined if it never reported. */
  observed: Generation | undefined;
  /** Undefined: no agent ever joined the cell. */
  session: Readonly<{ isOpen: boolean; since: string }> | undefined;
  /** When the object was made, for conditions that nobody has spoken about yet. */
  createdAt: string;
}>;

/** All seven conditions. What was never reported is Unknown; what is older than the wish is not in sync. */
export function viewConditions(
  kept: readonly Condition[],
  around: Surroundings,
): readonly Condition[] {
  const stored = new Map(kept.map((each) => [each.type, each]));
  return CONDITION_TYPES.map((type) => {
    if (type === "Connected") return connected(around);
    const found = stored.get(type);
    if (type === "InSync" && isPending(around)) return pending(around, found);
    return found ?? unknown(type, around);
  });
}

function connected({ session, createdAt }: Surroundings): Condition {
  if (session === undefined) {
    const message = "no agent has joined the cell";
    return {
      type: "Connected",
      status: "False",
      reason: "NO_AGENT",
      message,
      lastTransitionTime: createdAt,
    };
  }
  const { isOpen, since } = session;
  return {
    type: "Connected",
    status: isOpen ? "True" : "False",
    reason: isOpen ? "SESSION_OPEN" : "NO_SESSION",
    message: isOpen ? "the agent is connected" : `the agent is not connected since ${since}`,
    lastTransitionTime: since,
  };
}

function isPending({ assigned, observed }: Surroundings): boolean {
  return observed === undefined || compareGenerations(observed, assigned) < 0;
}

function pending(
  { assigned, observed, createdAt }: Surroundings,
  found: Condition | undefined,
): Condition {
  const held = observed === undefined ? "nothing" : formatGeneration(observed);
  return {
    type: "InSync",
    status: "False",
    reason: "ASSIGNMENT_PENDING",
    message: `the agent has accepted ${held}; wanted is ${formatGeneration(assigned)}`,
    lastTransitionTime: found?.lastTransitionTime ?? createdAt,
  };
}

function unknown(type: ConditionType, { createdAt }: Surroundings): Condition {
  const message = "the agent has not said anything about it";
  return {
    type,
    status: "Unknown",
    reason: "NOT_REPORTED",
    message,
    lastTransitionTime: createdAt,
  };
}
