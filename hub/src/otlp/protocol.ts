/** What the hub and its export thread say to each other. */
import type { OtlpConfig } from "../config.ts";
import type { Maker } from "./attributes.ts";
import type { Weighed } from "./item.ts";
import type { Outcome, Signal } from "./port.ts";

export type ExportStart = Readonly<{ settings: OtlpConfig; ca: string | undefined; maker: Maker }>;

export type ToExport =
  | Readonly<{ type: "put"; id: number; items: readonly Weighed[] }>
  | Readonly<{ type: "stop" }>
  | Readonly<{ type: "end" }>;

export type FromExport =
  /** The message with this id is in the queues, or counted; `waitingBytes`: of both. */
  | Readonly<{ type: "taken"; id: number; waitingBytes: number }>
  | Readonly<{
      type: "counted";
      signal: Signal;
      outcome: Outcome;
      records: number;
      waitingBytes: number;
    }>
  | Readonly<{ type: "note"; level: "info" | "warn"; text: string }>;
