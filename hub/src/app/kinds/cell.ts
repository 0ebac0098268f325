/** Cells: where instances run. A byoa one is a tenant's, a hosted one the vendor's; that never changes. */
import { create } from "@bufbuild/protobuf";
import { type Cell, CellKind, CellSchema } from "@holdfast/proto/holdfast/api/v1/cell_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { NIL_UUID } from "@holdfast/shared/ids.ts";
import { viewConditions } from "../../domain/conditions.ts";
import * as agents from "../../store/agents.ts";
import * as certificates from "../../store/certificates.ts";
import * as holdings from "../../store/holdings.ts";
import * as instances from "../../store/instances.ts";
import * as joinTokens from "../../store/join-tokens.ts";
import { AGENTS, CELLS } from "../../store/object-tables.ts";
import { end, type ObjectRow } from "../../store/objects.ts";
import * as presence from "../../store/presence.ts";
import { metadataOf } from "../metadata.ts";
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
    return rows.map((row) => cellView(row, present.get(row.id), counts.get(row.id) ?? 0));
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
    const { region = "", account = "", runtime = "", facts = {} } = spec ?? {};
    return { kind, region, account, runtime, facts };
  },
  async ending({ tx }, row) {
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

function cellView(row: ObjectRow, present: presence.Presence | undefined, count: number): Cell {
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
    },
    status: {
      conditions: conditionViews(conditions.filter(({ type }) => type === "Connected")),
      instances: count,
      activeAgent: present?.agentName ?? "",
    },
  });
}
