/**
 * The usage end of the report stream: hands out signed batches in order, and moves on only by what the hub
 * says it has committed.
 */

import type { MessageInitShape } from "@bufbuild/protobuf";
import { create, toBinary } from "@bufbuild/protobuf";
import type { BatchAck, Fenced, Opened } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import {
  BatchSchema,
  type RecordSchema,
  type SignedBatch,
  SignedBatchSchema,
} from "@holdfast/proto/holdfast/model/v1/reading_pb.js";
import type { Doorbell } from "@holdfast/shared/doorbell.ts";
import { signingKey } from "@holdfast/shared/dsse.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { nextHead, signHead } from "@holdfast/shared/usage.ts";
import type { Identity, ReportPort } from "../link/port.ts";
import type { Outbox, OutboxRow } from "../store/outbox.ts";
import { judgeOpened } from "./stream.ts";

/** Records in one batch: about 56 KiB, where the cost per message no longer matters. */
export const BATCH_RECORDS = 500;

/** What of the outbox the stream works with; the simulator keeps one in memory. */
export type StreamOutbox = Pick<
  Outbox,
  "state" | "sent" | "rows" | "recordSent" | "accept" | "forgetEpoch" | "renumber"
>;

export type ReportDeps = Readonly<{
  outbox: StreamOutbox;
  identity(): Identity;
  batchBell: Doorbell;
  bootId: string;
  nonce(): Uint8Array;
  log: Log;
}>;

/** Where this stream is: handed out up to `seq`, with this chain head. Undefined: not open. */
type Cursor = Readonly<{ seq: bigint; head: Uint8Array }>;

export class UsageReport implements ReportPort {
  readonly batchBell: Doorbell;
  readonly #deps: ReportDeps;
  readonly #ends = new Map<string, bigint>();
  #cursor: Cursor | undefined;

  constructor(deps: ReportDeps) {
    this.#deps = deps;
    this.batchBell = deps.batchBell;
  }

  open(): ReturnType<ReportPort["open"]> {
    this.#cursor = undefined;
    this.#ends.clear();
    const { epoch, incarnation, nextSeq, acceptedSeq, acceptedHead } = this.#deps.outbox.state();
    const { bootId, nonce } = this.#deps;
    return { epoch, incarnation, nextSeq, acceptedSeq, acceptedHead, bootId, nonce: nonce() };
  }

  opened(page: Opened): "go" | "reopen" {
    for (const { seriesDigest, windowEndMs } of page.series) {
      this.#ends.set(Buffer.from(seriesDigest).toString("hex"), windowEndMs);
    }
    if (page.more) return "go";
    const { outbox, log } = this.#deps;
    const decision = judgeOpened(outbox.state(), outbox.sent(), page);
    switch (decision.kind) {
      case "distrust":
        log.warn({ why: decision.why }, "asking for a new usage epoch");
        outbox.forgetEpoch();
        return "reopen";
      case "renumber":
        outbox.renumber(decision.epoch, decision.incarnation, this.#ends);
        break;
      case "resume":
        outbox.accept(decision.acceptedSeq, decision.acceptedHead);
        break;
    }
    this.#ends.clear();
    const { acceptedSeq, acceptedHead } = outbox.state();
    this.#cursor = { seq: acceptedSeq, head: acceptedHead };
    return "go";
  }

  nextBatch(): SignedBatch | undefined {
    const { outbox } = this.#deps;
    const cursor = this.#cursor;
    if (cursor === undefined) return undefined;
    // A batch that was sent before is cut as it was then, so that its head is the one the hub may know.
    const before = outbox.sent().find(({ firstSeq }) => firstSeq === cursor.seq + 1n);
    const { nextSeq } = outbox.state();
    const rows = outbox.rows(cursor.seq, before?.lastSeq ?? nextSeq, BATCH_RECORDS);
    const [first] = rows;
    const last = rows.at(-1);
    if (first === undefined || last === undefined) return undefined;
    const batch = this.#serialise(rows, cursor.head);
    const head = nextHead(cursor.head, batch);
    outbox.recordSent({ firstSeq: first.seq, lastSeq: last.seq, head });
    this.#cursor = { seq: last.seq, head };
    const key = signingKey(this.#deps.identity().identitySeed).privateKey;
    return create(SignedBatchSchema, { batch, head, signature: signHead(head, key) });
  }

  acked(ack: BatchAck): void {
    const { outbox, log } = this.#deps;
    for (const { seq, verdict, reason } of ack.verdicts) {
      log.warn({ seq: String(seq), verdict, reason }, "the hub did not accept a usage record");
    }
    const batch = outbox.sent().find(({ lastSeq }) => lastSeq === ack.acceptedSeq);
    if (ack.epoch === outbox.state().epoch && batch !== undefined) {
      outbox.accept(batch.lastSeq, batch.head);
    }
  }

  fenced({ reason }: Fenced): "reopen" | "stop" {
    this.#cursor = undefined;
    this.#deps.log.warn({ reason }, "the hub ended the usage stream");
    if (reason === "IDENTITY_FORKED" || reason === "AGENT_FENCED") return "stop";
    if (reason === "CHAIN_BROKEN") this.#deps.outbox.forgetEpoch();
    return "reopen";
  }

  #serialise(rows: readonly OutboxRow[], previousHead: Uint8Array): Uint8Array {
    const { epoch, incarnation } = this.#deps.outbox.state();
    const positions = new Map<string, number>();
    const series = rows.flatMap((row) => {
      if (positions.has(row.digest)) return [];
      positions.set(row.digest, positions.size);
      return [row.series];
    });
    const records = rows.map(
      (row): MessageInitShape<typeof RecordSchema> => ({
        seq: row.seq,
        series: positions.get(row.digest) ?? 0,
        windowStartMs: row.windowStartMs,
        windowEndMs: row.windowEndMs,
        value: { case: "counter", value: { value: row.value } },
      }),
    );
    return toBinary(
      BatchSchema,
      create(BatchSchema, {
        agentId: this.#deps.identity().agentId,
        epoch,
        incarnation,
        firstSeq: rows[0]?.seq ?? 0n,
        previousHead,
        series,
        records,
      }),
    );
  }
}
