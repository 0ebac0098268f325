/** Points of a series as steps of equal length: what a graph shows. Pure. */
import type { MetricBucket, Range } from "./port.ts";

export type Point = Readonly<{ timeMs: number; value: number }>;

/** Oldest first; steps without a point are absent. Of two points of one time the later given counts. */
export function bucketsOf(
  points: readonly Point[],
  { startMs, endMs }: Range,
  stepMs: number,
): readonly MetricBucket[] {
  const byTime = new Map(points.map((point) => [point.timeMs, point]));
  const sorted = [...byTime.values()].sort((a, b) => a.timeMs - b.timeMs);
  const steps = new Map<number, number[]>();
  for (const { timeMs, value } of sorted) {
    if (timeMs < startMs || timeMs >= endMs) continue;
    const step = Math.floor((timeMs - startMs) / stepMs);
    const values = steps.get(step);
    if (values === undefined) steps.set(step, [value]);
    else values.push(value);
  }
  return [...steps].map(([step, values]) => ({
    startMs: startMs + step * stepMs,
    min: values.reduce((a, b) => Math.min(a, b)),
    max: values.reduce((a, b) => Math.max(a, b)),
    mean: values.reduce((a, b) => a + b) / values.length,
    last: values.at(-1) ?? 0,
  }));
}
