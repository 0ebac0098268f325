/**
 * How much that holds data one attempt may take out of service without a person: a wrong release, or a wrong tombstone,
 * must not empty a cell at once. The data itself stays in any case.
 */
import { Fault } from "@holdfast/shared/fault.ts";
import { formatGeneration } from "@holdfast/shared/generation.ts";
import type { Step } from "../drivers/driver.ts";
import * as assignments from "../store/assignments.ts";
import * as attempts from "../store/attempts.ts";
import * as approvals from "../store/removal-approvals.ts";
import type { Hold } from "./decide.ts";
import { judgeDestroys, keptNow } from "./destruction.ts";
import type { Target } from "./target.ts";
import type { EngineDeps, Work } from "./work.ts";

/** Resources with data, or directories and volumes of one instance. */
export const DELETION_BUDGET_DEFAULT = 5;

/** Why an attempt may not begin because of what would be lost or put aside. Rejects where a driver cannot say. */
export async function judgeLoss(
  work: Work,
  target: Target,
  steps: readonly Step[],
): Promise<Hold | undefined> {
  return judgeDestroys(work, target.generation, steps) ?? (await judgeBudget(work, target));
}

async function judgeBudget(work: Work, target: Target): Promise<Hold | undefined> {
  const { store, instanceId, deletionBudget } = work;
  const kept = new Set(target.templates.map(({ id }) => id));
  const committed = attempts.findCommitted(store, instanceId)?.resources ?? [];
  const removed = new Set(committed.map(({ id }) => id).filter((id) => !kept.has(id)));
  const isStop = !target.tombstone && !target.isRunning;
  if (removed.size === 0 || isStop) return undefined;
  if (approvals.isApproved(store, instanceId, target.generation)) return undefined;
  const names = (await keptNow(work))
    .filter(({ resourceId }) => target.tombstone || removed.has(resourceId ?? ""))
    .map(({ name }) => name);
  if (names.length <= deletionBudget) return undefined;
  const what = `takes ${names.length} that hold data out of service: ${names.join(", ")}`;
  const rule = `at most ${deletionBudget} in one attempt without a person`;
  const next = `holdfast-agent allow-removal ${target.instanceName}`;
  const message = `${formatGeneration(target.generation)} ${what}; ${rule}; ${next}`;
  return { reason: "DELETION_BUDGET", message };
}

/** By a person on this host, for the generation that is wanted now. Throws NOT_FOUND `INSTANCE_UNKNOWN`. */
export function allowRemoval({ store, clock }: EngineDeps, instanceId: string): string {
  const held = assignments.find(store, instanceId);
  if (held === undefined) {
    throw new Fault("NOT_FOUND", "INSTANCE_UNKNOWN", `no instance ${instanceId} on this agent`);
  }
  approvals.put(store, instanceId, held.generation, clock.now());
  return formatGeneration(held.generation);
}
