/**
 * The telemetry end of the report stream: hands out messages while the hub has room for them, and lets go of each
 * when it is answered. What was not answered when a stream ended goes again on the next one; the hub knows it by
 * position, time or id and keeps it once.
 */
import type { TelemetryAck } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import type { Telemetry } from "@holdfast/proto/holdfast/model/v1/telemetry_pb.js";
import type { TelemetryPort } from "../link/port.ts";
import type { Parcel, TelemetryBuffer } from "./buffer.ts";
import type { WaitingLine } from "./encode.ts";

/** What the hub says for itself begins so; all else is told as HUB_REFUSED. */
const REASON = /^HUB_[A-Z_]{1,36}$/;

type Sent = { readonly seq: bigint; readonly parcel: Parcel; isAnswered: boolean };

export type TelemetryReportDeps = Readonly<{
  buffer: TelemetryBuffer;
  /** These lines need not be sent again, nor any before them of the same copies. */
  settled(lines: readonly WaitingLine[]): void;
}>;

export class TelemetryReport implements TelemetryPort {
  readonly #deps: TelemetryReportDeps;
  /** In the order of sending. */
  #sent: Sent[] = [];
  /** Sent on a stream that has ended, unanswered. */
  #again: Parcel[] = [];
  #seq = 0n;

  constructor(deps: TelemetryReportDeps) {
    this.#deps = deps;
  }

  opened(): void {
    this.#seq = 0n;
    this.#again.unshift(
      ...this.#sent.filter((each) => !each.isAnswered).map(({ parcel }) => parcel),
    );
    this.#sent = [];
  }

  next(): Telemetry | undefined {
    const parcel = this.#again.shift() ?? this.#deps.buffer.take();
    if (parcel === undefined) return undefined;
    this.#seq += 1n;
    this.#sent.push({ seq: this.#seq, parcel, isAnswered: false });
    parcel.telemetry.seq = this.#seq;
    return parcel.telemetry;
  }

  acked({ seq, refused }: TelemetryAck): void {
    const answered = this.#sent.find((each) => each.seq === seq);
    if (answered === undefined || answered.isAnswered) return;
    answered.isAnswered = true;
    if (refused !== "") {
      this.#deps.buffer.refused(answered.parcel, REASON.test(refused) ? refused : "HUB_REFUSED");
    }
    // Answers come in any order; what is settled is settled in the order of sending.
    for (let first = this.#sent[0]; first?.isAnswered === true; first = this.#sent[0]) {
      this.#sent.shift();
      this.#deps.settled(first.parcel.lines);
    }
  }
}
