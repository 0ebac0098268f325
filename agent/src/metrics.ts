/** What the agent counts about itself, as Prometheus text on loopback. Labels come from closed lists. */
import { createServer, type Server } from "node:http";
import type { ListenAddress } from "@holdfast/shared/settings.ts";
import { collectDefaultMetrics, Gauge, Registry } from "prom-client";

export type AgentFigures = Readonly<{
  linkUp: boolean;
  /** Instances by condition that is True. */
  instances: Readonly<Record<string, number>>;
}>;

/** `figures` is asked at each scrape. */
export function createRegistry(figures: () => AgentFigures): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: "holdfast_agent_" });
  const registers = [registry];
  new Gauge({
    name: "holdfast_agent_link_up",
    help: "1 while the agent is connected to its hub",
    registers,
    collect() {
      this.set(figures().linkUp ? 1 : 0);
    },
  });
  new Gauge({
    name: "holdfast_agent_instances",
    help: "Instances of which the condition is True",
    labelNames: ["condition"],
    registers,
    collect() {
      for (const [condition, count] of Object.entries(figures().instances)) {
        this.set({ condition }, count);
      }
    },
  });
  return registry;
}

/** Serves `/metrics` and nothing else. Rejects if the address cannot be had. */
export async function serveMetrics(registry: Registry, at: ListenAddress): Promise<Server> {
  const server = createServer((request, response) => {
    if (request.url !== "/metrics") {
      response.writeHead(404).end();
      return;
    }
    registry.metrics().then(
      (text) => response.writeHead(200, { "content-type": registry.contentType }).end(text),
      () => response.writeHead(500).end(),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(at.port, at.host, resolve);
  });
  return server;
}
