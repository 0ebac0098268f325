/**
 * Export to an OpenTelemetry collector as the hub uses it. It takes what was told and answers nothing: whatever the
 * collector does, neither an agent nor the store waits for it. What could not be sent is counted, by why.
 */
import type { Append } from "../telemetry/port.ts";

export const SIGNALS = ["logs", "metrics"] as const;
export type Signal = (typeof SIGNALS)[number];

/**
 * What becomes of a record. `rejected`: the collector took the rest of the request; REFUSED: none of it; GAVE_UP: it
 * could not be asked for too long; INSTANCE_UNKNOWN: told by an agent of another cell than the instance's.
 */
export const OUTCOMES = [
  "sent",
  "rejected",
  "QUEUE_FULL",
  "REFUSED",
  "GAVE_UP",
  "INSTANCE_UNKNOWN",
  "DAMAGED",
  "STOPPED",
] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** Whom an instance is of. Ids are UUIDs. */
export type Owner = Readonly<{
  vendorId: string;
  vendor: string;
  /** Empty for a pooled instance. */
  tenantId: string;
  tenant: string;
  cellId: string;
  cell: string;
  product: string;
  instanceId: string;
  instance: string;
}>;

export type FindOwners = (
  vendorId: string,
  instanceIds: readonly string[],
) => Promise<readonly Owner[]>;

/** One metric of the hub itself, as its registry gives it. */
export type HubMetric = Readonly<{
  name: string;
  help: string;
  /** counter, gauge or histogram; others are left out. */
  type: string;
  values: readonly Readonly<{
    value: number;
    labels: Readonly<Record<string, string | number>>;
    metricName?: string;
  }>[];
}>;

export type TelemetryExport = Readonly<{
  /** What is not sent yet. */
  waitingBytes: number;
  /** Returns at once, and needs no object before it. */
  take: (append: Append) => void;
  /** Sends what waits, and ends by the deadline. What is left is counted and gone. */
  close(msMax: number): Promise<void>;
}>;
