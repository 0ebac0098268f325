/** AgentService over its use cases. */
import type { AgentService } from "@holdfast/proto/holdfast/api/v1/agent_pb.js";
import type { AppDeps } from "../../app/deps.ts";
import { AGENT } from "../../app/kinds/agent.ts";
import type { UseCases } from "../dispatch.ts";
import { get, list } from "../standard-methods.ts";

export function agentUseCases(deps: AppDeps): UseCases<typeof AgentService> {
  return {
    getAgent: async (call, request) => ({
      agent: await get(deps, AGENT)(call, request, request.agent),
    }),
    async listAgents(call, request) {
      const { items, nextPageToken } = await list(deps, AGENT)(call, request);
      return { agents: items, nextPageToken };
    },
  };
}
