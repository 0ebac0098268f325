/** Finds the moments of one change in the logs of hub, agent and program, and takes the legs between them. Pure. */
import type { LogLine } from "./log-lines.ts";

/** Each ends where the next begins; together they are the whole way. ms. */
export const LEGS = [
  "call_to_commit",
  "commit_to_offer_at_agent",
  "verify_and_store",
  "plan_and_prepare",
  "journal_and_spawn",
  "program_own_start",
  "readiness_noticed",
  "commit",
  "publish",
  "status_back_at_hub",
] as const;

export type Leg = (typeof LEGS)[number];
export type Legs = Readonly<Record<Leg, number>>;

/** ms since 1970. */
export type Seen = Readonly<{
  calledAt: number;
  instanceId: string;
  generation: string;
  hub: readonly LogLine[];
  agent: readonly LogLine[];
  /** The new copy's own log. */
  program: readonly LogLine[];
}>;

/** Undefined while a line is not there yet. */
export function legsOf(seen: Seen): Legs | undefined {
  const { hub, agent, program, instanceId, generation, calledAt } = seen;
  const own = agent.filter(({ instance }) => instance === undefined || instance === instanceId);
  const of = (message: string) =>
    own.find(({ msg, generation: its }) => msg === message && its === generation)?.time;
  const moments = [
    calledAt,
    hub.find(({ msg }) => msg === "a wish may have changed")?.time,
    own.find(({ msg }) => msg === "offered")?.time,
    of("accepted"),
    own.find(({ msg, state }) => msg === "step" && state === "BEGUN")?.time,
    own.find(({ msg }) => msg === "process started")?.time,
    program.find(({ role }) => role === "standby" || role === "active")?.time,
    own.find(({ msg }) => msg === "ready")?.time,
    of("committed"),
    of("published"),
    hub.find(
      ({ msg, instance, committed }) =>
        msg === "status taken" && instance === instanceId && committed === generation,
    )?.time,
  ];
  const known = moments.filter((moment) => moment !== undefined);
  if (known.length !== moments.length) return undefined;
  const legs = LEGS.map((leg, at) => [leg, (known[at + 1] ?? 0) - (known[at] ?? 0)] as const);
  return Object.fromEntries(legs) as Legs;
}
