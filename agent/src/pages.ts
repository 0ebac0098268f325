/** What can be asked of this agent on its own host: its status by the socket, and its metrics where that is set. */
import { join } from "node:path";
import { ActionState } from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import type { Log } from "@holdfast/shared/log.ts";
import type { AgentConfig } from "./config.ts";
import { localReport } from "./local/report.ts";
import { startLocalServer } from "./local/server.ts";
import { type AgentMetrics, serveMetrics } from "./metrics.ts";
import type { Engine } from "./reconcile/engine.ts";
import type { Store } from "./store/database.ts";
import { isReadOnly, SOCKET_FILE } from "./store/state-directory.ts";

export type PageSources = Readonly<{
  store: Store;
  config: AgentConfig;
  host: Readonly<{ pid: number; version: string }>;
  log: Log;
  metrics: AgentMetrics;
}>;

export async function servePages(
  { store, config, host, log, metrics }: PageSources,
  engine: Engine,
): Promise<Readonly<{ close(): Promise<void> }>> {
  const report = () =>
    localReport(store, {
      running: true,
      isReadOnly: isReadOnly(config.stateDir),
      pid: host.pid,
      version: host.version,
      statuses: engine.statuses().map(({ status }) => status),
      kept: engine.kept.all(),
    });
  const path = join(config.stateDir, SOCKET_FILE);
  const local = await startLocalServer(path, report, {
    async destroy({ instanceId, name }) {
      const { state, reason, message } = await engine.destroy(instanceId, name);
      const told = { instance: instanceId, name, state: ActionState[state], reason };
      log.warn(told, "asked here to destroy");
      return { state: ActionState[state] ?? "", reason, message };
    },
    async allowRemoval({ instanceId }) {
      const generation = engine.allowRemoval(instanceId);
      log.warn({ instance: instanceId, generation }, "a removal was approved here");
      return { state: "DONE", reason: "APPROVED", message: `generation ${generation} may go on` };
    },
  });
  const { metricsListen } = config;
  const served = metricsListen && (await serveMetrics(metrics.registry, metricsListen));
  if (served !== undefined) log.info({ at: served.address() }, "metrics are served");
  return {
    close: async () => {
      served?.close();
      served?.closeAllConnections();
      await local.close();
    },
  };
}
