/** What the audit is told of an agent: done by itself, or by the hub to it. */
import type { AgentRow } from "../../store/agents.ts";
import type { Actor, Change } from "../event.ts";

export function agentChange(
  agent: AgentRow,
  verb: string,
  after: Readonly<Record<string, string>>,
  principal = `agent/${agent.name}`,
): Readonly<{ actor: Actor; change: Change }> {
  const actor = { principal, permission: "", requestId: "" };
  return { actor, change: { verb, kind: "agent", subject: agent, after } };
}
