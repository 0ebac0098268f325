/**
 * What the limits and requests of a spec become in control groups of v1 and v2, and what is said about those that
 * this host does not give. Pure.
 */
import type {
  ProcessLimits,
  ProcessRequests,
} from "@holdfast/shared/blueprint/kinds/process-limits.ts";
import type { Controller, Places } from "./cgroup-places.ts";

export type Amounts = Readonly<{ limits: ProcessLimits; requests: ProcessRequests }>;

/** A file of a group and what is written to it. `optional`: kernels without it need no replacement. */
export type GroupWrite = Readonly<{
  controller: Controller;
  file: string;
  value: string;
  optional: boolean;
}>;

/** How one amount is kept; `gap` says why it is not. */
export type Kept = Readonly<{
  amount: AmountName;
  what: string;
  how: (typeof KEPT_HOW)[number];
  gap: string;
}>;
export type AmountName = `limits.${keyof ProcessLimits}` | `requests.${keyof ProcessRequests}`;
export const KEPT_HOW = ["cgroup", "watched", "none"] as const;

const MIB = 1_048_576;
const CPU_PERIOD_US = 100_000;
/** The kernel takes no smaller quota. */
const CPU_QUOTA_US_MIN = 1_000;
const SHARES_PER_CPU = 1_024;
const SHARES_MIN = 2;
const SHARES_MAX = 262_144;
const WEIGHT_MAX = 10_000;

type Version = 1 | 2;
type Rule = Readonly<{
  amount: AmountName;
  what: string;
  controller: Controller;
  /** The agent itself can see that it is passed, and then ends the copy. */
  isWatched: boolean;
  writes(version: Version): readonly (readonly [file: string, value: string, optional?: true])[];
}>;

export function rulesOf({ limits, requests }: Amounts): readonly Rule[] {
  const { cpuMillis, memoryMib, pids } = limits;
  const rules: Rule[] = [];
  if (memoryMib !== undefined) rules.push(memoryLimit(memoryMib));
  if (cpuMillis !== undefined) rules.push(cpuLimit(cpuMillis));
  if (pids !== undefined) {
    const writes = (): ReturnType<Rule["writes"]> => [["pids.max", String(pids)]];
    const what = `pids limit ${pids}`;
    rules.push({ amount: "limits.pids", what, controller: "pids", isWatched: true, writes });
  }
  if (requests.memoryMib !== undefined) rules.push(memoryRequest(requests.memoryMib));
  if (requests.cpuMillis !== undefined) rules.push(cpuRequest(requests.cpuMillis));
  return rules;
}

/** Swap is no way around it. In v2 the copy ends as a whole, since half of a program serves nobody. */
function memoryLimit(mib: number): Rule {
  const bytes = String(mib * MIB);
  return {
    amount: "limits.memoryMib",
    what: `memory limit ${mib} MiB`,
    controller: "memory",
    isWatched: true,
    writes: (version) =>
      version === 2
        ? [
            ["memory.max", bytes],
            ["memory.swap.max", "0", true],
            ["memory.oom.group", "1", true],
          ]
        : [
            ["memory.limit_in_bytes", bytes],
            ["memory.memsw.limit_in_bytes", bytes, true],
          ],
  };
}

function cpuLimit(millis: number): Rule {
  const quota = Math.max(CPU_QUOTA_US_MIN, Math.round((millis * CPU_PERIOD_US) / 1_000));
  return {
    amount: "limits.cpuMillis",
    what: `cpu limit ${millis} m`,
    controller: "cpu",
    isWatched: false,
    writes: (version) =>
      version === 2
        ? [["cpu.max", `${quota} ${CPU_PERIOD_US}`]]
        : [
            ["cpu.cfs_period_us", String(CPU_PERIOD_US)],
            ["cpu.cfs_quota_us", String(quota)],
          ],
  };
}

function memoryRequest(mib: number): Rule {
  return {
    amount: "requests.memoryMib",
    what: `memory request ${mib} MiB`,
    controller: "memory",
    isWatched: false,
    writes: (version) => [
      [version === 2 ? "memory.low" : "memory.soft_limit_in_bytes", String(mib * MIB)],
    ],
  };
}

/** A share against others of this host, as Kubernetes counts it. */
function cpuRequest(millis: number): Rule {
  const shares = Math.min(
    SHARES_MAX,
    Math.max(SHARES_MIN, Math.round((millis * SHARES_PER_CPU) / 1_000)),
  );
  const weight =
    1 + Math.floor(((shares - SHARES_MIN) * (WEIGHT_MAX - 1)) / (SHARES_MAX - SHARES_MIN));
  return {
    amount: "requests.cpuMillis",
    what: `cpu request ${millis} m`,
    controller: "cpu",
    isWatched: false,
    writes: (version) =>
      version === 2 ? [["cpu.weight", String(weight)]] : [["cpu.shares", String(shares)]],
  };
}

export type GroupPlan = Readonly<{
  /** Groups that the copy gets: always those that measure and hold it together. */
  controllers: readonly Controller[];
  writes: readonly GroupWrite[];
  kept: readonly Kept[];
}>;

export function planGroups(amounts: Amounts, { found, missing }: Places): GroupPlan {
  const rules = rulesOf(amounts);
  const measuring: readonly Controller[] =
    found.unified === undefined ? ["cpuacct", "memory"] : ["unified", "memory"];
  const wanted = new Set([...measuring, ...rules.map(({ controller }) => controller)]);
  const writes = rules.flatMap(({ controller, writes: of }) => {
    const place = found[controller];
    if (place === undefined) return [];
    return of(place.version).map(([file, value, optional = false]) => ({
      ...{ controller, file, value, optional },
    }));
  });
  const kept = rules.map((rule): Kept => {
    const { amount, what, controller } = rule;
    if (found[controller] !== undefined) return { amount, what, how: "cgroup", gap: "" };
    return lost(rule, missing[controller] ?? "no cgroup");
  });
  return { controllers: [...wanted].filter((each) => found[each] !== undefined), writes, kept };
}

/** What a group of its own would have kept and does not. */
export function lost({ amount, what, isWatched }: Rule, gap: string): Kept {
  return { amount, what, how: isWatched ? "watched" : "none", gap };
}

/** For people; empty where everything asked for is kept by the kernel. */
export function caveatOf(kept: readonly Kept[]): string {
  return kept
    .filter(({ how }) => how !== "cgroup")
    .map(({ what, how, gap }) =>
      how === "watched"
        ? `${what} is watched by the agent, not kept by the kernel (${gap})`
        : `${what} does not apply here (${gap})`,
    )
    .join("; ");
}
