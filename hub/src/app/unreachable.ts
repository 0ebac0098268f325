/** Why the agent of a cell could not be asked: there is none, it is away and since when, or another replica has its link. */
import { Fault } from "@holdfast/shared/fault.ts";
import type * as presence from "../store/presence.ts";

/** `what` needs the agent, such as a rehearsal. */
export function unreachable(
  cell: string,
  agent: presence.Presence | undefined,
  what: string,
): Fault {
  if (agent === undefined) {
    return new Fault("FAILED_PRECONDITION", "NO_AGENT", `cell ${cell}: no agent has joined it`, {
      next: `holdfast cell token ${cell}`,
    });
  }
  const next = "holdfast get agents";
  if (agent.connected) {
    const message = `cell ${cell}: its agent is connected to another replica of the hub; try again there`;
    return new Fault("UNAVAILABLE", "AGENT_ELSEWHERE", message, { next });
  }
  const since = agent.since === null ? "" : ` since ${agent.since.toISOString()}`;
  const message = `cell ${cell}: its agent is not connected${since}; ${what} needs it`;
  return new Fault("UNAVAILABLE", "AGENT_OFFLINE", message, { next });
}
