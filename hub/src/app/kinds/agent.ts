/** Agents as the hub knows them. Read only: they come by enrolment and go with their cell. */
import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type Agent, AgentSchema, AgentState } from "@holdfast/proto/holdfast/api/v1/agent_pb.js";
import { identityFingerprint } from "@holdfast/shared/sealing.ts";
import { viewConditions } from "../../domain/conditions.ts";
import * as agents from "../../store/agents.ts";
import * as certificates from "../../store/certificates.ts";
import { AGENTS } from "../../store/object-tables.ts";
import type { ObjectRow } from "../../store/objects.ts";
import * as sessions from "../../store/sessions.ts";
import type { Tx } from "../../store/tx.ts";
import * as visible from "../../store/visible.ts";
import { metadataOf } from "../metadata.ts";
import type { Kind } from "../standard.ts";
import { conditionViews } from "../views.ts";

export const AGENT: Kind<Agent> = {
  kind: "agent",
  schema: AgentSchema,
  table: AGENTS,
  owner: "either",
  view,
  own: () => Promise.reject(new RangeError("agents are not written through the API")),
};

async function view(tx: Tx, rows: readonly ObjectRow[]): Promise<readonly Agent[]> {
  const ids = rows.map(({ id }) => id);
  const cells = await visible.names(
    tx,
    "cell",
    rows.map(({ fields }) => String(fields["cell_id"])),
  );
  const open = new Map((await sessions.listOfAgents(tx, ids)).map((each) => [each.agentId, each]));
  const newest = await certificates.listNewest(tx, ids);
  const valid = new Map(newest.map(({ agentId, notAfter }) => [agentId, notAfter]));
  const newestOf = await agents.newestFencing(
    tx,
    rows.map(({ fields }) => String(fields["cell_id"])),
  );
  return rows.map((row) => {
    const active = newestOf.get(String(row.fields["cell_id"])) === row.fields["fencing"];
    return agentView(row, {
      cells,
      active,
      session: open.get(row.id),
      validUntil: valid.get(row.id),
    });
  });
}

type Around = Readonly<{
  cells: ReadonlyMap<string, string>;
  active: boolean;
  session: sessions.SessionRow | undefined;
  validUntil: Date | undefined;
}>;

/** Whoever is frozen stays so, but a takeover settles it: from then on it is fenced like any other. */
function stateOf(active: boolean, isFrozen: boolean): AgentState {
  if (!active) return AgentState.FENCED;
  return isFrozen ? AgentState.FROZEN : AgentState.ACTIVE;
}

function agentView(row: ObjectRow, { cells, active, session, validUntil }: Around): Agent {
  const { fields, createdAt } = row;
  const since = session?.closedAt ?? session?.openedAt ?? createdAt;
  const nothing = { incarnation: 0n, number: 0n };
  const conditions = viewConditions([], {
    assigned: nothing,
    observed: nothing,
    session: {
      isOpen: session !== undefined && session.closedAt === null,
      since: since.toISOString(),
    },
    createdAt: createdAt.toISOString(),
  });
  const capabilities = (fields["capabilities"] ?? []) as readonly {
    name: string;
    available: boolean;
  }[];
  return create(AgentSchema, {
    metadata: metadataOf("agent", row),
    spec: { cell: cells.get(String(fields["cell_id"])) ?? "" },
    status: {
      conditions: conditionViews(conditions.filter(({ type }) => type === "Connected")),
      fencing: fields["fencing"] as bigint,
      state: stateOf(active, fields["frozen_at"] instanceof Date),
      version: String(fields["version"]),
      platform: String(fields["platform"]),
      hostName: String(fields["host_name"]),
      identityFingerprint: identityFingerprint(fields["identity_key"] as Uint8Array),
      capabilities: capabilities.filter(({ available }) => available).map(({ name }) => name),
      ...(validUntil === undefined ? {} : { certificateExpireTime: timestampFromDate(validUntil) }),
      ...(session === undefined ? {} : { connectTime: timestampFromDate(session.openedAt) }),
      ...(fields["seen_at"] instanceof Date
        ? { seenTime: timestampFromDate(fields["seen_at"]) }
        : {}),
    },
  });
}
