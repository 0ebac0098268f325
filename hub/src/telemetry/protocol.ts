/** What the hub and its telemetry thread say to each other. */
import type { FaultCode } from "@holdfast/shared/fault.ts";
import type { TelemetryEngine } from "./engine.ts";
import type { TelemetryBounds } from "./port.ts";

/** What may be asked of the engine from the other thread. */
export type Method = "append" | "logs" | "missing" | "health" | "metrics" | "end" | "size";
export type Argument<M extends Method> = Parameters<TelemetryEngine[M]>[0];
export type Answer<M extends Method> = ReturnType<TelemetryEngine[M]>;

export type ThreadStart = Readonly<{ folder: string; bounds: TelemetryBounds }>;

export type ToThread =
  | Readonly<{ type: "call"; id: number; method: Method; argument: unknown }>
  | Readonly<{ type: "stop" }>;

export type ThreadFailure = Readonly<{ code: FaultCode; reason: string; message: string }>;

export type FromThread =
  | Readonly<{ type: "answer"; id: number; answer: unknown }>
  | Readonly<{ type: "failure"; id: number; failure: ThreadFailure }>
  | Readonly<{ type: "note"; level: "info" | "error"; text: string; fields: object }>;
