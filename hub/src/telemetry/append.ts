/** What one message of an agent amounts to. Pure. */
import type { Append } from "./port.ts";

/** Of one entry beside its bytes. */
const ENTRY_BYTES = 100;

/** In memory, about. */
export function bytesOf({ chunks, health, metrics, missing }: Append): number {
  const data = [...chunks.map((each) => each.data), ...health.map(({ body }) => body)];
  const points = metrics.reduce((sum, series) => sum + series.points.length, 0);
  const entries = data.length + points + metrics.length + missing.length;
  return data.reduce((sum, { length }) => sum + length, entries * ENTRY_BYTES);
}

/** The instances that it is about. */
export function instancesOf({ chunks, health, metrics, missing }: Append): readonly string[] {
  return [...chunks, ...health, ...metrics, ...missing].map(({ instanceId }) => instanceId);
}
