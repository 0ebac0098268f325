/** What a bench gives: numbers with their units in their names, and how to make them from samples. */
import { cpus, release, totalmem } from "node:os";

export type Figures = Readonly<Record<string, number>>;

/** As written with --json. `ratios` are figures over yardsticks of the same run. */
export type BenchResult = Readonly<{
  name: string;
  machine: Readonly<Record<string, string | number>>;
  figures: Figures;
  yardsticks: Figures;
  ratios: Figures;
}>;

export function machine(): BenchResult["machine"] {
  const [cpu] = cpus();
  return {
    cpu: cpu?.model ?? "unknown",
    cores: cpus().length,
    memory_mib: Math.round(totalmem() / 2 ** 20),
    linux: release(),
    node: process.version,
  };
}

/** By the nearest rank; `share` in 0..1. Throws for no samples. */
export function quantile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1));
  const value = sorted[at];
  if (value === undefined) throw new RangeError("no samples");
  return value;
}

/** `NAME_median_ms` and `NAME_p95_ms`. */
export function spread(name: string, samplesMs: readonly number[]): Figures {
  return {
    [`${name}_median_ms`]: rounded(quantile(samplesMs, 0.5)),
    [`${name}_p95_ms`]: rounded(quantile(samplesMs, 0.95)),
  };
}

export function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}
