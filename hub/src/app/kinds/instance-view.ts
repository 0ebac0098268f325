/** Instances as callers see them: spec with names, what the agent said last, all conditions. */
import { create, fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type Instance, InstanceSchema } from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import type { DriftPolicy, RunState } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import {
  type FinalizerSchema,
  type InstanceStatus,
  InstanceStatusSchema,
} from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import { idOf } from "@holdfast/shared/ids.ts";
import { type Condition, viewConditions } from "../../domain/conditions.ts";
import * as needs from "../../store/instance-needs.ts";
import type { ObjectRow } from "../../store/objects.ts";
import * as presence from "../../store/presence.ts";
import * as seats from "../../store/seats.ts";
import * as statuses from "../../store/statuses.ts";
import type { Tx } from "../../store/tx.ts";
import * as visible from "../../store/visible.ts";
import { metadataOf } from "../metadata.ts";
import { wishOf } from "../placing.ts";
import { conditionViews, jsonObject, placementView, sessionOf } from "../views.ts";

type Needs = Readonly<Record<string, string>>;

type Around = Readonly<{
  names: visible.NamesByKind;
  status: ReadonlyMap<string, statuses.StatusRow>;
  present: ReadonlyMap<string, presence.Presence>;
  seats: ReadonlyMap<string, number>;
  /** Of those that are needed, as far as the caller may know of them. */
  needed: ReadonlyMap<string, string>;
}>;

export async function instanceViews(
  tx: Tx,
  rows: readonly ObjectRow[],
): Promise<readonly Instance[]> {
  const idsOf = (column: string) =>
    rows.flatMap(({ fields }) => (typeof fields[column] === "string" ? [fields[column]] : []));
  const ids = rows.map(({ id }) => id);
  const [names, status, present, seated, needed] = await Promise.all([
    visible.namesByKind(tx, {
      product: idsOf("product_id"),
      release: idsOf("release_id"),
      plan: idsOf("plan_id"),
      environment: idsOf("environment_id"),
      cell: idsOf("cell_id"),
      subscription: idsOf("subscription_id"),
    }),
    statuses.list(tx, ids),
    presence.ofCells(tx, idsOf("cell_id")),
    seats.countOfInstances(tx, ids),
    needs.names(
      tx,
      rows.flatMap(({ fields }) => Object.values((fields["needs"] ?? {}) as Needs)),
    ),
  ]);
  const statusOf = new Map(status.map((each) => [each.instanceId, each]));
  const around: Around = { names, status: statusOf, present, seats: seated, needed };
  const isOne = rows.length === 1;
  return rows.map((row) => instanceView(row, around, isOne));
}

/** What was before the last attempt is told of one instance; a list of them would be mostly that. */
function instanceView(row: ObjectRow, around: Around, isOne: boolean): Instance {
  return create(InstanceSchema, {
    metadata: metadataOf("instance", row),
    spec: specView(row, around),
    status: statusView(row, around, isOne),
  });
}

function specView({ fields }: ObjectRow, { names, needed }: Around) {
  const needs = Object.entries((fields["needs"] ?? {}) as Readonly<Record<string, string>>);
  const nameOf = (kind: visible.NamedKind) => names[kind].get(String(fields[`${kind}_id`])) ?? "";
  const product = nameOf("product");
  const wish = wishOf(fields["placement"]);
  return {
    product,
    // Releases are named product-version.
    release: nameOf("release").slice(product.length + 1),
    plan: nameOf("plan"),
    subscription: nameOf("subscription"),
    environment: nameOf("environment"),
    cell: nameOf("cell"),
    parameters: jsonObject(fields["parameters"]),
    runState: Number(fields["run_state"]) as RunState,
    driftPolicy: Number(fields["drift_policy"]) as DriftPolicy,
    localSecrets: { ...(fields["local_secrets"] as Record<string, string>) },
    instances: Object.fromEntries(
      needs.map(([name, id]) => [name, needed.get(id) ?? idOf("instance", id)]),
    ),
    ...(wish === undefined ? {} : { placement: wish }),
  };
}

function statusView(row: ObjectRow, around: Around, isOne: boolean) {
  const { fields, createdAt } = row;
  const assigned = {
    incarnation: fields["assigned_incarnation"] as bigint,
    number: fields["assigned_number"] as bigint,
  };
  const said = around.status.get(row.id);
  const report = said === undefined ? undefined : fromBinary(InstanceStatusSchema, said.report);
  const conditions = viewConditions((said?.conditions ?? []) as readonly Condition[], {
    assigned,
    observed: said?.observed,
    session: sessionOf(around.present.get(String(fields["cell_id"])), createdAt),
    createdAt: createdAt.toISOString(),
  });
  return {
    generation: assigned,
    conditions: conditionViews(conditions),
    seats: around.seats.get(row.id) ?? 0,
    finalizers: finalizerViews(row, report, conditions),
    cellId: idOf("cell", String(fields["cell_id"])),
    ...placementView(fields["placed"], around.names.cell.get(String(fields["cell_id"]))),
    ...(said === undefined || report === undefined
      ? {}
      : {
          observedGeneration: said.observed,
          committedGeneration: said.committed,
          committedRelease: said.committedRelease,
          outputs: jsonObject(said.outputs),
          resources: report.resources,
          history: isOne ? report.history : [],
          ...(isOne && report.drift !== undefined && { drift: report.drift }),
          reportTime: timestampFromDate(said.reportedAt),
          ...(report.attempt === undefined ? {} : { attempt: report.attempt }),
        }),
  };
}

/** What a deletion waits for: as the agent says, or that the agent says nothing. */
function finalizerViews(
  { finalizers }: ObjectRow,
  report: InstanceStatus | undefined,
  conditions: readonly Condition[],
): MessageInitShape<typeof FinalizerSchema>[] {
  const connected = conditions.find(({ type }) => type === "Connected");
  return finalizers.map((name) => {
    if (connected !== undefined && connected.status !== "True") {
      const { reason, message, lastTransitionTime } = connected;
      return { name, reason, message: `${message}, since ${lastTransitionTime}` };
    }
    const said = report?.finalizers.find((each) => each.name === name);
    return (
      said ?? { name, reason: "UNCONFIRMED", message: "the agent has not said yet how far it is" }
    );
  });
}
