/**
 * The outbox of a simulated agent: the stream's state and its unaccepted records, in memory. What the hub accepted is
 * forgotten, so that a hub restored from a backup cannot ask for it again; a real agent keeps it for 35 days.
 */

import { create } from "@bufbuild/protobuf";
import type { NewRecord } from "@holdfast/agent/src/metering/records.ts";
import type { StreamOutbox } from "@holdfast/agent/src/metering/report.ts";
import type { SentBatch, StreamState } from "@holdfast/agent/src/metering/stream.ts";
import type { OutboxRow } from "@holdfast/agent/src/store/outbox.ts";
import { SeriesSchema } from "@holdfast/proto/holdfast/model/v1/reading_pb.js";
import { FIRST_HEAD } from "@holdfast/shared/usage.ts";

/** Waiting records; past it the newest one of each series stands for all, which keeps every total exact. */
export const WAITING_RECORDS_MAX = 5_000;

export class MemoryOutbox implements StreamOutbox {
  readonly #ends = new Map<string, number>();
  #records: OutboxRow[] = [];
  #sent: SentBatch[] = [];
  #state: StreamState = {
    epoch: 0n,
    incarnation: 0n,
    nextSeq: 1n,
    acceptedSeq: 0n,
    acceptedHead: FIRST_HEAD,
  };

  state(): StreamState {
    return this.#state;
  }

  sent(): readonly SentBatch[] {
    return this.#sent;
  }

  /** End of the series' last window, ms. */
  lastEnd(digest: string): number | undefined {
    return this.#ends.get(digest);
  }

  append(records: readonly NewRecord[]): void {
    for (const { digest, series, windowStartMs, windowEndMs, value } of records) {
      this.#ends.set(digest, windowEndMs);
      this.#records.push({
        seq: this.#state.nextSeq,
        digest,
        series: create(SeriesSchema, series),
        windowStartMs: BigInt(windowStartMs),
        windowEndMs: BigInt(windowEndMs),
        value,
      });
      this.#state = { ...this.#state, nextSeq: this.#state.nextSeq + 1n };
    }
    if (this.#records.length > WAITING_RECORDS_MAX) this.#thin();
  }

  rows(after: bigint, upTo: bigint, max: number): readonly OutboxRow[] {
    const from = this.#records.findIndex(({ seq }) => seq > after);
    if (from === -1) return [];
    return this.#records.slice(from, from + max).filter(({ seq }) => seq <= upTo);
  }

  recordSent(batch: SentBatch): void {
    this.#sent = [...this.#sent.filter(({ lastSeq }) => lastSeq !== batch.lastSeq), batch];
  }

  accept(acceptedSeq: bigint, acceptedHead: Uint8Array): void {
    this.#state = { ...this.#state, acceptedSeq, acceptedHead };
    this.#sent = this.#sent.filter(({ lastSeq }) => lastSeq > acceptedSeq);
    this.#records = this.#records.filter(({ seq }) => seq > acceptedSeq);
  }

  forgetEpoch(): void {
    this.#state = { ...this.#state, epoch: 0n };
  }

  renumber(epoch: bigint, incarnation: bigint, ends: ReadonlyMap<string, bigint>): void {
    const later = this.#records.filter(
      ({ digest, windowEndMs }) => windowEndMs > (ends.get(digest) ?? 0n),
    );
    this.#records = later.map((row, at) => {
      const end = ends.get(row.digest) ?? 0n;
      const windowStartMs = row.windowStartMs > end ? row.windowStartMs : end;
      return { ...row, windowStartMs, seq: BigInt(at + 1) };
    });
    this.#sent = [];
    const nextSeq = BigInt(later.length + 1);
    this.#state = { epoch, incarnation, nextSeq, acceptedSeq: 0n, acceptedHead: FIRST_HEAD };
  }

  /** The last record of a series takes the window of the earlier ones, which go; the numbers are given anew. */
  #thin(): void {
    const last = new Map<string, OutboxRow>();
    for (const row of this.#records) {
      const windowStartMs = last.get(row.digest)?.windowStartMs ?? row.windowStartMs;
      last.set(row.digest, { ...row, windowStartMs });
    }
    this.#records = [...last.values()];
    this.forgetEpoch();
  }
}
