/** What the process of a fleet and its workers say to each other over IPC. Holds paths of secrets, never a secret. */
import type { Context } from "@holdfast/cli/src/contexts.ts";
import type { Pace } from "../agent/sim-agent.ts";
import type { SimEvent } from "../events.ts";
import type { Faults } from "../faults.ts";

/** What each agent is to hold; without it none is asked for. */
export type InstanceWish = Readonly<{
  product: string;
  release: string;
  plan: string;
  environment: string;
  parameters: Readonly<Record<string, string | number | boolean>>;
}>;

export type WorkerOrder = Readonly<{
  context: Context;
  stateDir: string;
  /** Names of cell, instance and agent. */
  names: readonly string[];
  wish?: InstanceWish;
  linkEndpoints: readonly string[];
  pace: Pace;
  faults: Faults;
  seed: number;
  debug: boolean;
}>;

export type ToWorker =
  | Readonly<{ type: "prepare"; order: WorkerOrder }>
  | Readonly<{ type: "connect"; overMs: number }>
  | Readonly<{ type: "stop" }>;

export type FromWorker =
  | Readonly<{ type: "progress"; prepared: number }>
  | Readonly<{ type: "prepared" }>
  | Readonly<{ type: "events"; events: readonly SimEvent[] }>
  | Readonly<{ type: "log"; level: string; message: string }>
  | Readonly<{ type: "failed"; message: string }>
  | Readonly<{ type: "stopped" }>;
