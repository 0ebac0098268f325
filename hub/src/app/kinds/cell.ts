/** Cells: where instances run. A byoa one is a tenant's, a hosted one the vendor's; that never changes. */
import { create } from "@bufbuild/protobuf";
import {
  type Cell,
  type CellCapacity,
  CellKind,
  CellSchema,
} from "@holdfast/proto/holdfast/api/v1/cell_pb.js";
import { Fault, invalid } from "@holdfast/shared/fault.ts";
import { NIL_UUID } from "@holdfast/shared/ids.ts";
import { viewConditions } from "../../domain/conditions.ts";
import type { Amounts } from "../../domain/placement.ts";
import * as agents from "../../store/agents.ts";
import * as certificates from "../../store/certificates.ts";
import * as holdings from "../../store/holdings.ts";
import * as instances from "../../store/instances.ts";
import * as joinTokens from "../../store/join-tokens.ts";
import { AGENTS, CELLS } from "../../store/object-tables.ts";
import { end, type ObjectRow } from "../../store/objects.ts";
import * as placement from "../../store/placement.ts";
import * as presence from "../../store/presence.ts";
import { metadataOf } from "../metadata.ts";
import { amountProblems } from "../placing.ts";
import { refuse } from "../refusal.ts";
import type { Kind, Work } from "../standard.ts";
import { conditionViews, jsonObject, sessionOf } from "../views.ts";

export const CELL: Kind<Cell> = {
  kind: "cell",
  schema: CellSchema,
  table: CELLS,
  owner: "either",
  async view(tx, rows) {
    const ids = rows.map(({ id }) => id);
    const present = await presence.ofCells(tx, ids);
    const counts = await instances.countInCells(tx, ids);
    const used = await placement.resourcesUsed(tx, ids);
    return rows.map((row) => {
      const inIt = { count: counts.get(row.id) ?? 0, used: used.get(row.id) ?? {} };
      return cellView(row, present.get(row.id), inIt);
    });
  },
  async own(_work, { spec }, { tenantId, row }) {
    const kind = spec?.kind ?? CellKind.UNSPECIFIED;
    if (row !== undefined && row.fields["kind"] !== kind) {
      throw refuse("cell.spec.kind", "never changes; make another cell", "IMMUTABLE");
    }
    if ((kind === CellKind.HOSTED) !== (tenantId === NIL_UUID)) {
      const rule =
        kind === CellKind.HOSTED
          ? "a hosted cell belongs to the vendor; leave it empty"
          : "a byoa cell belongs to a tenant; name it";
      throw refuse("cell.metadata.tenant", rule, "OWNER_REFUSED");
    }
    const { region = "", account = "", runtime = "", facts = {}, capacity } = spec ?? {};
    const problems = amountProblems(capacity?.resources ?? {}, "cell.spec.capacity.resources");
    if (problems.length > 0) throw invalid("AMOUNT_RANGE", problems);
    const bounds = {
      instances_max: capacity?.instancesMax ?? 0,
      resources_max: boundsOf(capacity),
    };
    return { kind, region, account, runtime, facts, ...bounds };
  },
  async ending({ tx, deps, call }, row) {
    const held = await holdings.ofCell(tx, row.id);
    const [first] = held;
    if (first !== undefined) {
      const names = held.map(({ name }) => `instance/${name}`).join(", ");
      throw new Fault(
        "FAILED_PRECONDITION",
        "STILL_USED",
        `cell ${row.name}: delete first what runs there: ${names}`,
        { next: `holdfast delete instance ${first.name}` },
      );
    }
    await expel(tx, row.id);
    const fault = new Fault("UNAUTHENTICATED", "AGENT_GONE", `cell ${row.name} was deleted`);
    const { vendorId } = call.caller;
    tx.afterCommit(() => deps.outcasts.expel({ vendorId, cellId: row.id, fault }));
    return [];
  },
};

/** No agent of the cell may come back and no token may let one in. */
async function expel(tx: Work["tx"], cellId: string): Promise<void> {
  await joinTokens.revokeOfCell(tx, cellId);
  for (const agent of await agents.listOfCell(tx, cellId)) {
    await certificates.revokeOfAgent(tx, agent.id);
    await end(tx, AGENTS, { tenantId: agent.tenantId, id: agent.id, finalizers: [] });
  }
}

function boundsOf(capacity: CellCapacity | undefined): Amounts {
  const entries = Object.entries(capacity?.resources ?? {});
  return Object.fromEntries(entries.map(([name, amount]) => [name, Number(amount)]));
}

function bigAmounts(amounts: Amounts): Record<string, bigint> {
  return Object.fromEntries(Object.entries(amounts).map(([name, n]) => [name, BigInt(n)]));
}

/** Undefined where nothing is bounded. */
function capacityView({ fields }: ObjectRow) {
  const instancesMax = Number(fields["instances_max"]);
  const resources = bigAmounts(fields["resources_max"] as Amounts);
  const isBounded = instancesMax > 0 || Object.keys(resources).length > 0;
  return isBounded ? { capacity: { instancesMax, resources } } : {};
}

function cellView(
  row: ObjectRow,
  present: presence.Presence | undefined,
  { count, used }: Readonly<{ count: number; used: Amounts }>,
): Cell {
  const { fields, createdAt } = row;
  const nothing = { incarnation: 0n, number: 0n };
  const conditions = viewConditions([], {
    assigned: nothing,
    observed: nothing,
    session: sessionOf(present, createdAt),
    createdAt: createdAt.toISOString(),
  });
  return create(CellSchema, {
    metadata: metadataOf("cell", row),
    spec: {
      kind: Number(fields["kind"]),
      region: String(fields["region"]),
      account: String(fields["account"]),
      runtime: String(fields["runtime"]),
      facts: jsonObject(fields["facts"]),
      ...capacityView(row),
    },
    status: {
      conditions: conditionViews(conditions.filter(({ type }) => type === "Connected")),
      instances: count,
      activeAgent: present?.agentName ?? "",
      resourcesUsed: bigAmounts(used),
    },
  });
}
