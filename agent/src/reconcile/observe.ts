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
import * as facts from "../store/facts.ts";
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

export function figuresOf(store: Store, engine: Engine) {
  const instances: Record<string, number> = {};
  for (const { status } of engine.statuses()) {
    for (const { type, status: state } of status.conditions) {
      const add = state === ConditionStatus.TRUE ? 1 : 0;
      instances[type] = (instances[type] ?? 0) + add;
    }
  }
  return { linkUp: facts.findLink(store)?.up ?? false, instances };
}
