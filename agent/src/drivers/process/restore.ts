/**
 * Brings back what somebody else changed of a copy that runs, without touching its processes: limits, the groups that
 * keep them, and the files of its secrets.
 */
import { Fault } from "@holdfast/shared/fault.ts";
import { inputOf } from "../copy-input.ts";
import type {
  Difference,
  Live,
  Step,
  StepContext,
  StepOrder,
  StepOutcome,
  Wanted,
} from "../driver.ts";
import { accountOf } from "../host-process/account.ts";
import { enterGroups, groupName, makeGroups } from "../host-process/cgroup.ts";
import { findCopy } from "../host-process/copies.ts";
import { caveatOf } from "../host-process/limits.ts";
import { writeSecrets } from "../host-process/secrets.ts";
import { DRIVER_KIND, type ProcessHost } from "./host.ts";
import { renderedSpecOf, START_MS_MAX } from "./spec.ts";

export const RESTORE = "restore";

export function restoreSteps(
  { key, handle }: Live,
  { digest }: Wanted,
  differences: readonly Difference[],
): readonly Step[] {
  if (differences.length === 0) return [];
  const { resourceId, instanceId } = key;
  const paths = differences.map(({ path }) => path).join(", ");
  return [
    {
      ...{ resourceId, kind: DRIVER_KIND, verb: RESTORE },
      input: { instance: instanceId, handle, digest },
      id: `${resourceId}/restore`,
      class: "reversible",
      when: "before-commit",
      summary: `bring back ${paths} of ${resourceId}, which goes on running`,
      msMax: START_MS_MAX,
    },
  ];
}

/** Throws FAILED_PRECONDITION `LIMIT_REFUSED` where the kernel does not take a limit back. */
export async function restoreCopy(
  host: ProcessHost,
  order: StepOrder,
  context: StepContext,
): Promise<StepOutcome> {
  const input = inputOf(order);
  const key = { instanceId: input.instance(), resourceId: order.resourceId };
  const handle = input.handle();
  const copy = await findCopy(host, context, key, handle);
  if (copy?.running !== true) return { handle, message: "it does not run any more" };
  const wanted = await context.wanted(input.digest());
  const spec = renderedSpecOf(wanted.spec);
  writeSecrets(copy.runDir, wanted, spec, accountOf(host, spec.user));
  const name = groupName(key.instanceId, handle);
  const { groups, kept } = makeGroups(host, context.stateDir, name, spec);
  const before = copy.record?.kept ?? [];
  const isHeld = before.some(({ how }) => how === "cgroup");
  const refused = kept.filter(
    ({ amount, how }) =>
      how !== "cgroup" && before.some((each) => each.amount === amount && each.how === "cgroup"),
  );
  if (refused.length > 0) throw limitRefused(order.resourceId, caveatOf(refused));
  // Children first: what a process starts from inside is inside.
  for (const { pid } of isHeld ? copy.members.toReversed() : []) {
    const problem = enterGroups(groups, pid);
    if (problem !== undefined && pid === copy.process?.pid) {
      throw limitRefused(order.resourceId, problem);
    }
  }
  return { handle, message: "brought back" };
}

function limitRefused(resource: string, why: string): Fault {
  return new Fault("FAILED_PRECONDITION", "LIMIT_REFUSED", `${resource}: ${why}`);
}
