/** Which machines of the hub are recorded, where, and how much is kept. */
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { join } from "node:path";
import type { Clock } from "@holdfast/shared/clock.ts";
import type { FlightPlan } from "@holdfast/shared/flight/commands.ts";
import { FlightRecorder } from "@holdfast/shared/flight/recorder.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { controlMachine } from "./link/control-machine.ts";

/** A segment holds some five fleet-wide changes of 5,000 agents. */
export const HUB_FLIGHT: FlightPlan = {
  program: "holdfast-hub",
  machines: [controlMachine],
  bounds: { segmentBytesMax: 8 * 1024 * 1024, segmentStepsMax: 100_000 },
  folderIn: (dataDir) => join(dataDir, "flight"),
};

export type FlyingHost = Readonly<{
  version: string;
  clock: Clock;
  log: Log;
  /** Hears of an error that ends the process, just before it does. */
  onCrash(hear: (error: unknown) => void): void;
}>;

export function startRecorder(
  dataDir: string,
  { version, clock, log, onCrash }: FlyingHost,
): FlightRecorder {
  const life = randomBytes(9).toString("hex");
  const plan = HUB_FLIGHT;
  const recorder = new FlightRecorder({ fs, plan, directory: dataDir, version, life, clock, log });
  onCrash((error) => recorder.end("crashed", error));
  return recorder;
}
