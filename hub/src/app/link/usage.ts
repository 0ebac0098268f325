/** Use cases of the report stream: opening it where both ends agree, and taking batches of usage. */
import { create } from "@bufbuild/protobuf";
import {
  type BatchAck,
  BatchAckSchema,
  type Fenced,
  FencedSchema,
  type Open,
  type Opened,
  OpenedReason,
  OpenedSchema,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import {
  type Batch,
  Fold,
  type Record as ReadingRecord,
  type SignedBatch,
  Verdict,
} from "@holdfast/proto/holdfast/model/v1/reading_pb.js";
import { verificationKey } from "@holdfast/shared/dsse.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { idOf, isId, NIL_UUID, uuidOf } from "@holdfast/shared/ids.ts";
import { seriesDigest } from "@holdfast/shared/usage.ts";
import { openBatch } from "../../domain/usage-batch.ts";
import type { AgentSession } from "../../link/port.ts";
import * as agents from "../../store/agents.ts";
import { readWithContext, type Tx, withContext } from "../../store/tx.ts";
import * as usage from "../../store/usage.ts";
import * as streams from "../../store/usage-streams.ts";
import type { AppDeps } from "../deps.ts";
import { contextOfAgent, contextOfAgents } from "./admission.ts";

/** Pages of one opening at most; a cell with more series has its oldest ones sent again, which is harmless. */
const OPENED_PAGES_MAX = 1_000;

/** Of one batch: how many of its records ended how, or why its stream was fenced. */
export type UsageTaken =
  | Readonly<{ accepted: number; duplicate: number; quarantined: number }>
  | Readonly<{ fenced: string }>;

/** An agent that opens its stream. */
export type OpenQuestion = Readonly<{ session: AgentSession; open: Open }>;

/** Agents of one vendor; in the order of the questions the pages of each, or why it cannot. */
export function openStreams(
  { database, incarnation }: AppDeps,
  vendorId: string,
  questions: readonly OpenQuestion[],
): Promise<readonly (readonly Opened[] | Fault)[]> {
  const sessions = questions.map(({ session }) => session);
  return withContext(database, contextOfAgents(vendorId, sessions), async (tx) => {
    const opens = questions.map(({ session, open }) => ({
      ...{ agentId: session.agentId, epoch: open.epoch, nextSeq: open.nextSeq },
      ...{ acceptedSeq: open.acceptedSeq, acceptedHead: open.acceptedHead },
      incarnation: open.incarnation,
    }));
    const states = await streams.openAll(tx, opens, incarnation);
    return Promise.all(
      states.map(async (state, at) => {
        if (state instanceof Fault) return state;
        const cellId = sessions[at]?.cellId ?? NIL_UUID;
        return openedPages(state, state.isResumed ? [[]] : await allSeriesEnds(tx, cellId));
      }),
    );
  });
}

async function allSeriesEnds(
  tx: Tx,
  cellId: string,
): Promise<readonly (readonly streams.SeriesEnd[])[]> {
  const pages: (readonly streams.SeriesEnd[])[] = [];
  for (let after = new Uint8Array(0); pages.length < OPENED_PAGES_MAX; ) {
    const page = await streams.seriesEnds(tx, cellId, after);
    pages.push(page);
    if (page.length < streams.SERIES_ENDS_MAX) break;
    after = new Uint8Array(page.at(-1)?.digest ?? after);
  }
  return pages;
}

function openedPages(
  { isResumed, epoch, incarnation, acceptedSeq, acceptedHead, durableSeq }: streams.StreamOpened,
  pages: readonly (readonly streams.SeriesEnd[])[],
): readonly Opened[] {
  const reason = isResumed ? OpenedReason.RESUMED : OpenedReason.NEW_EPOCH;
  return pages.map((page, index) =>
    create(OpenedSchema, {
      ...{ reason, epoch, incarnation, acceptedSeq, acceptedHead, durableSeq },
      series: page.map(({ digest, windowEndMs }) => ({ seriesDigest: digest, windowEndMs })),
      more: index < pages.length - 1,
    }),
  );
}

/** `taken` hears how the batch was answered. */
export async function ingest(
  deps: AppDeps,
  session: AgentSession,
  signed: SignedBatch,
  taken: (counts: UsageTaken) => void,
): Promise<BatchAck | Fenced> {
  const { agentId } = session;
  const identityKey = verificationKey(await identityKeyOf(deps, session)).publicKey;
  const batch = openBatch(signed, { agentId: idOf("agent", agentId), identityKey });
  const answer = await usage.ingest(
    deps.database,
    contextOfAgent(session),
    toStore(batch, agentId, signed.head),
  );
  if (answer.kind === "fenced") {
    taken({ fenced: answer.reason });
    return create(FencedSchema, { reason: answer.reason, expectedSeq: answer.expectedSeq });
  }
  taken(countsOf(batch.records.length, answer.verdicts));
  return create(BatchAckSchema, {
    epoch: batch.epoch,
    acceptedSeq: answer.acceptedSeq,
    durableSeq: answer.durableSeq,
    verdicts: answer.verdicts.map(({ seq, verdict, reason }) => ({
      seq,
      verdict: verdict === "duplicate" ? Verdict.DUPLICATE : Verdict.QUARANTINED,
      reason,
    })),
  });
}

function countsOf(records: number, verdicts: readonly usage.UsageVerdict[]): UsageTaken {
  const duplicate = verdicts.filter(({ verdict }) => verdict === "duplicate").length;
  const quarantined = verdicts.length - duplicate;
  return { accepted: records - verdicts.length, duplicate, quarantined };
}

/** Read for every batch: a takeover may have replaced the agent since the stream was opened. */
function identityKeyOf({ database }: AppDeps, session: AgentSession): Promise<Uint8Array> {
  return readWithContext(database, contextOfAgent(session), async (tx) => {
    const agent = await agents.get(tx, session.agentId);
    if (agent !== undefined) return agent.identityKey;
    throw new Fault("PERMISSION_DENIED", "AGENT_UNKNOWN", "this agent is not known any more");
  });
}

function toStore(batch: Batch, agentId: string, head: Uint8Array): usage.UsageBatch {
  return {
    agentId,
    epoch: batch.epoch,
    incarnation: batch.incarnation,
    firstSeq: batch.firstSeq,
    previousHead: batch.previousHead,
    head,
    series: batch.series.map((series) => ({
      digest: seriesDigest(series),
      instanceId: storedId("instance", series.instanceId),
      seatId: storedId("seat", series.seatId),
      meter: series.meter,
      resource: series.resource,
      source: series.source,
      dimensions: series.dimensions,
    })),
    records: batch.records.map((record) => ({
      seq: record.seq,
      series: record.series,
      windowStartMs: record.windowStartMs,
      windowEndMs: record.windowEndMs,
      ...measured(record),
    })),
  };
}

/** An id that is none belongs to nobody: its records are set aside one by one, the batch goes on. */
function storedId(kind: "instance" | "seat", id: string): string {
  try {
    return isId(id) ? uuidOf(kind, id) : NIL_UUID;
  } catch {
    return NIL_UUID;
  }
}

function measured({ value }: ReadingRecord): Pick<usage.UsageRecord, "kind" | "value" | "detail"> {
  switch (value.case) {
    case "counter":
      return { kind: "counter", value: value.value.value, detail: "" };
    case "window":
      return { kind: "window", value: value.value.value, detail: Fold[value.value.fold] ?? "" };
    case "occurrence":
      return { kind: "occurrence", value: value.value.value, detail: value.value.id };
    case "gap":
      return { kind: "gap", value: 0n, detail: value.value.reason };
    case undefined:
      throw new Fault("INVALID_ARGUMENT", "BATCH_MALFORMED", "batch: a record has no value");
  }
}
