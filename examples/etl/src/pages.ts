/** What the worker's pages say. */
import type { Health } from "./health.ts";
import { jsonPage, type Pages } from "./http.ts";
import { metricsText } from "./metrics.ts";
import type { Release } from "./release.ts";
import type { Worker } from "./worker.ts";

/** A turn of the loop is bounded by the time limits of both databases, well below this. */
const TURN_MS_MAX = 60_000;

export type PagesDeps = Readonly<{ release: Release; health: Health; worker: Worker }>;

export function workerPages({ release, health, worker }: PagesDeps): Pages {
  const version = release.showsVersion ? release.version : undefined;
  return {
    "/": async () => {
      const counts = await worker.counts();
      const rows = Object.fromEntries(
        [...(counts?.progress ?? [])].map(([seat, { rowCount }]) => [seat, rowCount]),
      );
      const destination = counts?.destinationId;
      return jsonPage(200, { product: "etl", version, role: health.role, destination, rows });
    },
    "/healthz": () => {
      const { ready, role } = health;
      return jsonPage(ready ? 200 : 503, { ready, role, detail: health.detail() });
    },
    "/livez": () => {
      const isAlive = worker.turnMs < TURN_MS_MAX;
      return jsonPage(isAlive ? 200 : 503, { alive: isAlive, turnMs: Math.round(worker.turnMs) });
    },
    "/metrics": async () => {
      const counts = await worker.counts();
      const body = metricsText({
        health,
        version,
        counts: counts && { ...counts, seats: worker.seats },
      });
      return { status: 200, type: "text/plain; version=0.0.4; charset=utf-8", body };
    },
  };
}
