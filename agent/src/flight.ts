/** Which machines of the agent are recorded, where, and how much is kept. */
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { join } from "node:path";
import type { Clock } from "@holdfast/shared/clock.ts";
import type { FlightPlan } from "@holdfast/shared/flight/commands.ts";
import { FlightRecorder } from "@holdfast/shared/flight/recorder.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { sessionMachine } from "./link/session.ts";
import { decideMachine } from "./reconcile/decide.ts";

export const AGENT_FLIGHT: FlightPlan = {
  program: "holdfast-agent",
  machines: [sessionMachine, decideMachine],
  bounds: { segmentBytesMax: 1024 * 1024, segmentStepsMax: 10_000 },
  folderIn: (stateDir) => join(stateDir, "flight"),
};

export type FlyingHost = Readonly<{
  version: string;
  /** Hears of an error that ends the process, just before it does. */
  onCrash(hear: (error: unknown) => void): void;
}>;

export function startRecorder(
  stateDir: string,
  { version, onCrash }: FlyingHost,
  clock: Clock,
  log: Log,
): FlightRecorder {
  const life = randomBytes(9).toString("hex");
  const plan = AGENT_FLIGHT;
  const recorder = new FlightRecorder({ fs, plan, directory: stateDir, version, life, clock, log });
  onCrash((error) => recorder.end("crashed", error));
  return recorder;
}
