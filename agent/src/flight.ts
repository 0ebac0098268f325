/** Which machines of the agent are recorded, where, and how much is kept. */
import { join } from "node:path";
import type { FlightPlan } from "@holdfast/shared/flight/commands.ts";
import { sessionMachine } from "./link/session.ts";
import { decideMachine } from "./reconcile/decide.ts";

export const AGENT_FLIGHT: FlightPlan = {
  program: "holdfast-agent",
  machines: [sessionMachine, decideMachine],
  bounds: { segmentBytesMax: 1024 * 1024, segmentStepsMax: 10_000 },
  folderIn: (stateDir) => join(stateDir, "flight"),
};
