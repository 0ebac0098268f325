/** What a cell is to be told: offers that differ from what is held, the freshness note, newer key sets. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  ControlResponseSchema,
  type Held,
  type Hello,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { FreshnessSchema } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { type Envelope, EnvelopeSchema } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { KeyPurpose } from "@holdfast/proto/holdfast/model/v1/keys_pb.js";
import { signEnvelope } from "@holdfast/shared/dsse.ts";
import { idOf } from "@holdfast/shared/ids.ts";
import { isOfferDue } from "../../domain/held.ts";
import type { AgentSession, StoredFrame } from "../../link/port.ts";
import * as assignments from "../../store/assignments.ts";
import * as freshness from "../../store/freshness.ts";
import * as keySets from "../../store/key-sets.ts";
import { readWithContext, type Tx, withContext } from "../../store/tx.ts";
import type { AppDeps } from "../deps.ts";
import { contextOfAgent } from "./admission.ts";

/** After this without a word of the hub an agent holds changes; workloads go on. */
export const FRESHNESS_LIFE_MS = 24 * 3_600_000;
/** Instances of one cell. */
const CELL_INSTANCES_MAX = 10_000;

export function differing(
  deps: AppDeps,
  session: AgentSession,
  held: readonly Held[],
  max: number,
): Promise<readonly StoredFrame[]> {
  // A fenced agent gets nothing more to do.
  if (!session.active) return Promise.resolve([]);
  const byId = new Map(held.map((each) => [each.instanceId, each]));
  return readWithContext(deps.database, contextOfAgent(session), async (tx) => {
    const due: string[] = [];
    for await (const head of allHeads(tx, session.cellId)) {
      if (isOfferDue(head, byId.get(idOf("instance", head.instanceId)))) due.push(head.instanceId);
      if (due.length >= max) break;
    }
    const offers = await assignments.offers(tx, session.cellId, due);
    return offers.map(({ instanceId, offer }) => ({
      instanceId: idOf("instance", instanceId),
      bytes: offer,
    }));
  });
}

async function* allHeads(tx: Tx, cellId: string): AsyncIterable<assignments.AssignmentHead> {
  let after: string | undefined;
  for (let seen = 0; seen < CELL_INSTANCES_MAX; ) {
    const page = await assignments.heads(tx, cellId, after);
    yield* page;
    seen += page.length;
    after = page.at(-1)?.instanceId;
    if (page.length < assignments.OFFERS_MAX) return;
  }
}

/** Signed now, and kept, so that another replica can show what was said last. */
export function freshnessNote(deps: AppDeps, session: AgentSession): Promise<Uint8Array> {
  const { vendorId, cellId } = session;
  return withContext(deps.database, contextOfAgent(session), async (tx) => {
    const now = deps.clock.now();
    const latest = [];
    for await (const head of allHeads(tx, cellId)) {
      latest.push({
        instanceId: idOf("instance", head.instanceId),
        assignmentDigest: head.digest,
        entitlementDigest: head.entitlementDigest ?? "",
      });
    }
    const note = create(FreshnessSchema, {
      vendorId: idOf("vendor", vendorId),
      cellId: idOf("cell", cellId),
      incarnation: deps.incarnation,
      latest,
      signTime: timestampFromMs(now),
      expireTime: timestampFromMs(now + FRESHNESS_LIFE_MS),
    });
    const { assignmentKey } = deps.keysOf(vendorId);
    const envelope = signEnvelope("freshness", toBinary(FreshnessSchema, note), [assignmentKey]);
    await freshness.replace(tx, {
      cellId,
      envelope: toBinary(EnvelopeSchema, envelope),
      signedAt: new Date(now),
      expiresAt: new Date(now + FRESHNESS_LIFE_MS),
    });
    const message = { case: "freshness", value: envelope } as const;
    return toBinary(ControlResponseSchema, create(ControlResponseSchema, { message }));
  });
}

const PURPOSES = [KeyPurpose.RELEASE, KeyPurpose.ASSIGNMENT, KeyPurpose.DESTROY] as const;

/** Purposes are said by their names in the contract, such as RELEASE. */
export function newerKeySets(
  deps: AppDeps,
  session: AgentSession,
  hello: Hello,
): Promise<readonly Envelope[]> {
  const held = new Map(
    hello.keySets.map(({ purpose, version }) => [purpose.toUpperCase(), version]),
  );
  return readWithContext(deps.database, contextOfAgent(session), async (tx) => {
    const newer: Envelope[] = [];
    for (const purpose of PURPOSES) {
      const after = held.get(KeyPurpose[purpose]) ?? 0n;
      const rows = await keySets.listAfter(tx, purpose, after);
      newer.push(...rows.map(({ envelope }) => fromBinary(EnvelopeSchema, envelope)));
    }
    return newer;
  });
}
