/**
 * How long a person waits for the command line: from the start of `./holdfast` to its end. The yardstick is a Node that
 * does nothing, started between the samples so that both meet the same neighbours.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { type BenchResult, machine, quantile, rounded, spread } from "./figures.ts";
import { ROOT, withFleet } from "./fleet.ts";

const SAMPLES = 40;
/** The first runs make the bundle and the compile cache. */
const WARM_UP = 3;
const SAMPLE_WINDOW_MS = 60_000;

const COMMANDS = {
  version: ["--version"],
  help: ["--help"],
  get_instances: ["get", "instances"],
  describe: ["describe", "instance", "etl-free"],
} as const;

export function bench(): Promise<BenchResult> {
  return withFleet({ logLevel: "info", sampleWindowMs: SAMPLE_WINDOW_MS }, async (_, home) => {
    const program = join(ROOT, "holdfast");
    const names = Object.keys(COMMANDS) as (keyof typeof COMMANDS)[];
    const samples: Record<string, number[]> = { bare_node: [] };
    for (let round = -WARM_UP; round < SAMPLES; round++) {
      const bare = wallMs(process.execPath, ["-e", "0"], home);
      if (round >= 0) samples["bare_node"]?.push(bare);
      for (const name of names) {
        const ms = wallMs(program, COMMANDS[name], home);
        if (round >= 0) samples[name] = [...(samples[name] ?? []), ms];
      }
    }
    const median = (name: string) => quantile(samples[name] ?? [], 0.5);
    const over = (name: string) => rounded(median(name) / median("bare_node"));
    return {
      name: "cli",
      machine: machine(),
      figures: Object.assign({}, ...names.map((name) => spread(name, samples[name] ?? []))),
      yardsticks: spread("bare_node", samples["bare_node"] ?? []),
      ratios: Object.fromEntries(names.map((name) => [`${name}_vs_bare_node`, over(name)])),
    };
  });
}

function wallMs(program: string, args: readonly string[], cwd: string): number {
  const startedAt = performance.now();
  const { status, stderr } = spawnSync(program, args, { cwd, encoding: "utf8" });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")} ended with ${status}: ${stderr}`);
  return performance.now() - startedAt;
}
