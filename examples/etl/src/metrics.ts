/** Metrics as Prometheus text, format 0.0.4. */
import type { Health } from "./health.ts";
import type { ProgressBySeat, Seat } from "./model.ts";

export type MetricsView = Readonly<{
  health: Health;
  /** Absent until the destination was read once: unknown is not zero. */
  counts:
    | Readonly<{ destinationId: string; progress: ProgressBySeat; seats: readonly Seat[] }>
    | undefined;
  /** Absent: the release does not say. */
  version: string | undefined;
}>;

/** Rows that the destination durably holds, per seat; seats that have gone keep their last count. */
export function metricsText({ health, counts, version }: MetricsView): string {
  const lines = [
    "# HELP etl_rows_total Rows in the destination, by seat. The source label is the destination's own id.",
    "# TYPE etl_rows_total counter",
  ];
  if (counts !== undefined) {
    const none = counts.seats.filter((seat) => !seat.reserved).map((seat) => [seat.id, 0] as const);
    const held = [...counts.progress].map(([seat, { rowCount }]) => [seat, rowCount] as const);
    for (const [seat, rows] of new Map([...none, ...held])) {
      lines.push(`etl_rows_total{seat="${seat}",source="${counts.destinationId}"} ${rows}`);
    }
  }
  lines.push("# HELP etl_errors_total Times that a part was found unwell.");
  lines.push("# TYPE etl_errors_total counter");
  for (const [part, times] of health.errors())
    lines.push(`etl_errors_total{part="${part}"} ${times}`);
  lines.push("# HELP etl_active Whether this copy holds the lease.");
  lines.push("# TYPE etl_active gauge");
  lines.push(`etl_active ${health.role === "active" ? 1 : 0}`);
  if (version !== undefined) {
    lines.push("# HELP etl_build_info The release that runs.");
    lines.push("# TYPE etl_build_info gauge");
    lines.push(`etl_build_info{version="${version}"} 1`);
  }
  return `${lines.join("\n")}\n`;
}
