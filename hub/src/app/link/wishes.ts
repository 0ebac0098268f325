/** What a cell is to be told: offers that differ from what is held, the freshness note, newer key sets. */
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  ControlResponseSchema,
  type Held,
  HeldSchema,
  type Hello,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import {
  type FreshDigestSchema,
  FreshnessSchema,
} from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { type Envelope, EnvelopeSchema } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { KeyPurpose } from "@holdfast/proto/holdfast/model/v1/keys_pb.js";
import { signEnvelope } from "@holdfast/shared/dsse.ts";
import { idOf } from "@holdfast/shared/ids.ts";
import { isOfferDue } from "../../domain/held.ts";
import type { AgentSession, News, OfferPage, StoredFrame } from "../../link/port.ts";
import * as actions from "../../store/actions.ts";
import type { AssignmentHead } from "../../store/assignments.ts";
import * as assignments from "../../store/assignments.ts";
import * as freshness from "../../store/freshness.ts";
import * as keySets from "../../store/key-sets.ts";
import { readWithContext, type Tx, withContext } from "../../store/tx.ts";
import type { AppDeps } from "../deps.ts";
import { contextOfAgents } from "./admission.ts";

/** After this without a word of the hub an agent holds changes; workloads go on. */
export const FRESHNESS_LIFE_MS = 24 * 3_600_000;
/** Instances of one cell. */
const CELL_INSTANCES_MAX = 10_000;

/** What one agent asks: which offers differ from what it holds. */
export type DifferingQuestion = Readonly<{
  session: AgentSession;
  held: readonly Held[];
  max: number;
}>;

/** For active agents of one vendor; their answers in their order. */
export async function differing(
  deps: AppDeps,
  vendorId: string,
  questions: readonly DifferingQuestion[],
): Promise<readonly OfferPage[]> {
  const sessions = questions.map(({ session }) => session);
  return readWithContext(deps.database, contextOfAgents(vendorId, sessions), async (tx) => {
    const cells = new Set(sessions.map(({ cellId }) => cellId));
    const first = await headsByCell(tx, [...cells]);
    const due: (readonly AssignmentHead[])[] = [];
    for (const { session, held, max } of questions) {
      due.push(await dueOf(tx, first.get(session.cellId) ?? [], held, max));
    }
    // Each that has offers due gets one at least.
    const share = Math.floor(assignments.OFFERS_MAX / Math.max(1, due.filter(isSome).length));
    const pages = due.map((heads) => heads.slice(0, share));
    const ids = new Set(pages.flat().map(({ instanceId }) => instanceId));
    const offers = await assignments.offers(tx, [...ids]);
    const bytesOf = new Map(offers.map(({ instanceId, offer }) => [instanceId, offer]));
    return pages.map((heads, at) => ({
      frames: heads.flatMap((head) => frameOf(head, bytesOf.get(head.instanceId))),
      more: heads.length < (due[at]?.length ?? 0) || heads.length === questions[at]?.max,
    }));
  });
}

const isSome = (list: readonly unknown[]) => list.length > 0;

function frameOf(head: AssignmentHead, bytes: Uint8Array | undefined): readonly StoredFrame[] {
  if (bytes === undefined) return [];
  const { incarnation, number, digest, entitlementIncarnation, entitlementNumber } = head;
  const held = create(HeldSchema, {
    instanceId: idOf("instance", head.instanceId),
    generation: { incarnation, number },
    assignmentDigest: digest,
    ...(entitlementIncarnation !== null &&
      entitlementNumber !== null && {
        entitlementRevision: { incarnation: entitlementIncarnation, number: entitlementNumber },
      }),
  });
  return [{ held, bytes }];
}

/** Of one cell, at most `max`; `first` is the cell's first page of heads. */
async function dueOf(
  tx: Tx,
  first: readonly AssignmentHead[],
  held: readonly Held[],
  max: number,
): Promise<readonly AssignmentHead[]> {
  const byId = new Map(held.map((each) => [each.instanceId, each]));
  const due: AssignmentHead[] = [];
  for await (const head of onwards(tx, first)) {
    if (isOfferDue(head, byId.get(idOf("instance", head.instanceId)))) due.push(head);
    if (due.length >= max) break;
  }
  return due;
}

/** The first page of each cell. */
async function headsByCell(
  tx: Tx,
  cellIds: readonly string[],
): Promise<ReadonlyMap<string, readonly AssignmentHead[]>> {
  const heads = await assignments.heads(tx, cellIds);
  return Map.groupBy(heads, ({ cellId }) => cellId);
}

/** All heads of a cell whose first page is known. */
async function* onwards(tx: Tx, first: readonly AssignmentHead[]): AsyncIterable<AssignmentHead> {
  let page = first;
  for (let seen = 0; seen < CELL_INSTANCES_MAX; ) {
    yield* page;
    seen += page.length;
    const last = page.at(-1);
    if (last === undefined || page.length < assignments.OFFERS_MAX) return;
    page = await assignments.heads(tx, [last.cellId], last.instanceId);
  }
}

/** Signed now, and kept, so that another replica can show what was said last. Answers in the order of the sessions. */
export function freshnessNotes(
  deps: AppDeps,
  vendorId: string,
  sessions: readonly AgentSession[],
): Promise<readonly Uint8Array[]> {
  const cellIds = [...new Set(sessions.map(({ cellId }) => cellId))];
  return withContext(deps.database, contextOfAgents(vendorId, sessions), async (tx) => {
    const first = await headsByCell(tx, cellIds);
    const notes = new Map<string, NewNote>();
    for (const cellId of cellIds) {
      const latest = [];
      for await (const head of onwards(tx, first.get(cellId) ?? [])) latest.push(freshDigest(head));
      notes.set(cellId, signNote(deps, { vendorId, cellId }, latest));
    }
    // In one order, so that two batches never wait for each other.
    const rows = [...notes.values()].map(({ row }) => row);
    await freshness.replace(
      tx,
      rows.sort((a, b) => (a.cellId < b.cellId ? -1 : 1)),
    );
    return sessions.map(({ cellId }) => notes.get(cellId)?.frame ?? new Uint8Array());
  });
}

type NewNote = Readonly<{ row: freshness.FreshnessRow; frame: Uint8Array }>;

function freshDigest(head: AssignmentHead): MessageInitShape<typeof FreshDigestSchema> {
  return {
    instanceId: idOf("instance", head.instanceId),
    assignmentDigest: head.digest,
    entitlementDigest: head.entitlementDigest ?? "",
  };
}

function signNote(
  deps: AppDeps,
  { vendorId, cellId }: Pick<AgentSession, "vendorId" | "cellId">,
  latest: readonly MessageInitShape<typeof FreshDigestSchema>[],
): NewNote {
  const now = deps.clock.now();
  const note = create(FreshnessSchema, {
    vendorId: idOf("vendor", vendorId),
    cellId: idOf("cell", cellId),
    incarnation: deps.incarnation,
    latest: [...latest],
    signTime: timestampFromMs(now),
    expireTime: timestampFromMs(now + FRESHNESS_LIFE_MS),
  });
  const { assignmentKey } = deps.keysOf(vendorId);
  const envelope = signEnvelope("freshness", toBinary(FreshnessSchema, note), [assignmentKey]);
  const message = { case: "freshness", value: envelope } as const;
  return {
    row: {
      cellId,
      envelope: toBinary(EnvelopeSchema, envelope),
      signedAt: new Date(now),
      expiresAt: new Date(now + FRESHNESS_LIFE_MS),
    },
    frame: toBinary(ControlResponseSchema, create(ControlResponseSchema, { message })),
  };
}

const PURPOSES = [KeyPurpose.RELEASE, KeyPurpose.ASSIGNMENT, KeyPurpose.DESTROY] as const;

export type NewsQuestion = Readonly<{ session: AgentSession; hello: Hello }>;

/** Answers in the order of the questions. */
export function newsFor(
  deps: AppDeps,
  vendorId: string,
  questions: readonly NewsQuestion[],
): Promise<readonly News[]> {
  const sessions = questions.map(({ session }) => session);
  return readWithContext(deps.database, contextOfAgents(vendorId, sessions), async (tx) => {
    const newest = await keySets.newest(tx);
    const cellIds = new Set(sessions.map(({ cellId }) => cellId));
    const open = await actions.cellsWithOpen(tx, [...cellIds]);
    const news: News[] = [];
    for (const { session, hello } of questions) {
      const hasActions = open.has(session.cellId);
      news.push({ keySets: await newerKeySets(tx, hello, newest), hasActions });
    }
    return news;
  });
}

/** Purposes are said by their names in the contract, such as RELEASE. */
async function newerKeySets(
  tx: Tx,
  hello: Hello,
  newest: ReadonlyMap<number, bigint>,
): Promise<readonly Envelope[]> {
  const held = new Map(
    hello.keySets.map(({ purpose, version }) => [purpose.toUpperCase(), version]),
  );
  const newer: Envelope[] = [];
  for (const purpose of PURPOSES) {
    const after = held.get(KeyPurpose[purpose]) ?? 0n;
    if ((newest.get(purpose) ?? 0n) <= after) continue;
    const rows = await keySets.listAfter(tx, purpose, after);
    newer.push(...rows.map(({ envelope }) => fromBinary(EnvelopeSchema, envelope)));
  }
  return newer;
}
