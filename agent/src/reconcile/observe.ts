/** What others want to know of all instances: the meter what runs, the metrics how many are well. */
import { fromBinary } from "@bufbuild/protobuf";
import {
  EntitlementSchema,
  type SeatEntitlement,
} from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { ConditionStatus } from "@holdfast/proto/holdfast/model/v1/condition_pb.js";
import type { Driver, Live } from "../drivers/driver.ts";
import type { SampledInstance } from "../metering/sampler.ts";
import * as assignments from "../store/assignments.ts";
import type { Store } from "../store/database.ts";
import type { Engine } from "./engine.ts";
import { findServing } from "./target.ts";

/** Committed instances with their meters, seats and running copies. Rejects if a look failed. */
export async function sampledInstances(
  store: Store,
  engine: Engine,
  drivers: ReadonlyMap<string, Driver>,
): Promise<readonly SampledInstance[]> {
  const looks = await Promise.all([...drivers.keys()].map((kind) => engine.snapshots.recent(kind)));
  const lives = looks.flat();
  return assignments.list(store).flatMap(({ instanceId }): SampledInstance[] => {
    const blueprint = findServing(store, instanceId)?.blueprint;
    if (blueprint === undefined) return [];
    return [
      {
        instanceId,
        meters: blueprint.meters,
        seats: seatsOf(store, instanceId),
        copies: lives
          .filter((live) => live.key.instanceId === instanceId && isRunning(live))
          .map(({ key, outputs }) => ({ resourceId: key.resourceId, outputs })),
      },
    ];
  });
}

function isRunning({ phase }: Live): boolean {
  return phase === "starting" || phase === "running";
}

function seatsOf(store: Store, instanceId: string): readonly SeatEntitlement[] {
  const held = assignments.findEntitlement(store, instanceId);
  return held === undefined ? [] : fromBinary(EntitlementSchema, held.envelope.payload).seats;
}

/** How many instances have a condition in a status. */
export function conditionCounts(
  engine: Engine,
): readonly Readonly<{ condition: string; status: string; count: number }>[] {
  const counts = new Map<string, { condition: string; status: string; count: number }>();
  for (const { status } of engine.statuses()) {
    for (const { type, status: state } of status.conditions) {
      const key = `${type}/${state}`;
      const known = counts.get(key) ?? { condition: type, status: nameOf(state), count: 0 };
      counts.set(key, { ...known, count: known.count + 1 });
    }
  }
  return [...counts.values()];
}

function nameOf(status: ConditionStatus): string {
  if (status === ConditionStatus.TRUE) return "True";
  return status === ConditionStatus.FALSE ? "False" : "Unknown";
}
