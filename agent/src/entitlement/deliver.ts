/**
 * Hands the seat list to the workload: `seats.json`, replaced as a whole, then SIGHUP. Level-triggered and no
 * attempt: a crash in between delivers it again, and a workload that starts later reads the file itself.
 */
import { fromBinary } from "@bufbuild/protobuf";
import {
  type Entitlement,
  EntitlementSchema,
} from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { formatGeneration, generationOf } from "@holdfast/shared/generation.ts";
import { STANDING_VERBS } from "../drivers/driver.ts";
import { bounded } from "../reconcile/snapshots.ts";
import { driverOf, stepContext, type Work } from "../reconcile/work.ts";
import * as assignments from "../store/assignments.ts";
import { replaceFile } from "../store/atomic-file.ts";
import * as attempts from "../store/attempts.ts";

const SIGNAL_MS_MAX = 10_000;

/** Does nothing if the newest entitlement was delivered. Throws what the driver or the file system says. */
export async function deliverSeats(work: Work): Promise<void> {
  const { store, instanceId, context, clock, signal } = work;
  const held = assignments.findEntitlement(store, instanceId);
  if (held === undefined || held.delivered) return;
  const entitlement = fromBinary(EntitlementSchema, held.envelope.payload);
  const { seatsFile } = context.directories(instanceId);
  replaceFile(seatsFile, seatList(entitlement), 0o644);
  const committed = attempts.findCommitted(store, instanceId);
  for (const { id: resourceId, kind } of committed?.resources ?? []) {
    const input = { instance: instanceId, signal: "SIGHUP" };
    await bounded(
      clock,
      SIGNAL_MS_MAX,
      `signal ${resourceId}`,
      (stop) =>
        driverOf(work, kind).run(
          { resourceId, kind, verb: STANDING_VERBS.signal, input },
          stepContext(work, stop),
        ),
      signal,
    );
  }
  assignments.markDelivered(store, instanceId, held.digest);
}

/** As documented for workloads; amounts beyond 2^53 are cut there, since JSON readers would round them. */
export function seatList(entitlement: Entitlement): string {
  const seats = entitlement.seats.map(({ seatId, name, reserved, allotments }) => ({
    seat: seatId,
    name,
    reserved,
    allotments: allotments.map(({ meter, amount, period }) => ({
      meter,
      amount: Number(amount > SAFE_MAX ? SAFE_MAX : amount),
      period,
    })),
  }));
  const revision = formatGeneration(generationOf(entitlement.revision));
  const { licence } = entitlement;
  const content = { revision, seats, ...(licence !== undefined && { licence }) };
  return `${JSON.stringify(content, undefined, 2)}\n`;
}

const SAFE_MAX = BigInt(Number.MAX_SAFE_INTEGER);
