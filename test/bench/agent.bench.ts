/**
 * What the agent costs on a customer's host, as it ships (one bundled file and the SQLite addon): memory and processor
 * while it is connected, runs one instance and nothing changes; time from its start until it is connected; size. The
 * yardstick is Node that does nothing.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { bundleAgent } from "../../scripts/agent/bundle.mjs";
import type { Fleet } from "../../scripts/fleet/fleet.ts";
import { type BenchResult, machine, quantile, rounded } from "./figures.ts";
import { withFleet } from "./fleet.ts";
import { LogLines } from "./log-lines.ts";
import { cpuMs } from "./processor.ts";

const CELL = "byoa";
const STARTS = 5;
const SETTLE_MS = 20_000;
const IDLE_MS = 60_000;
const POLL_MS = 5;
const CONNECT_MS_MAX = 30_000;
/** The agent's own default. */
const SAMPLE_WINDOW_MS = 60_000;
const MIB = 2 ** 20;

export function bench(): Promise<BenchResult> {
  return withFleet({ logLevel: "info", sampleWindowMs: SAMPLE_WINDOW_MS }, async (fleet, home) => {
    const folder = join(home, "agent");
    const program = await bundleAgent(folder);
    await fleet.stopAgent(CELL);
    const starts: number[] = [];
    const bareStarts: number[] = [];
    for (let at = 0; at < STARTS; at++) {
      const agent = new Agent(fleet, program, home);
      starts.push(await agent.connected());
      await agent.end();
      bareStarts.push(await bareStartMs());
    }
    const agent = new Agent(fleet, program, home);
    const bare = spawn(process.execPath, ["-e", "setInterval(() => undefined, 60_000)"]);
    try {
      await agent.connected();
      await sleep(SETTLE_MS);
      const before = cpuMs(agent.pid);
      await sleep(IDLE_MS);
      const idlePercent = ((cpuMs(agent.pid) - before) / IDLE_MS) * 100;
      const rss = rssMib(agent.pid);
      const bareRss = rssMib(bare.pid ?? 0);
      const [start, bareStart] = [quantile(starts, 0.5), quantile(bareStarts, 0.5)];
      return {
        name: "agent",
        machine: machine(),
        figures: {
          idle_rss_mib: rounded(rss),
          idle_cpu_percent_of_a_core: rounded(idlePercent),
          start_to_connected_p50_ms: rounded(start),
          installed_mib: rounded(sizeOf(folder) / MIB),
        },
        yardsticks: {
          bare_node_rss_mib: rounded(bareRss),
          bare_node_start_p50_ms: rounded(bareStart),
          node_mib: rounded(statSync(process.execPath).size / MIB),
        },
        ratios: {
          idle_rss_vs_bare_node: rounded(rss / bareRss),
          start_to_connected_vs_bare_start: rounded(start / bareStart),
        },
      };
    } finally {
      bare.kill();
      await agent.end();
    }
  });
}

/** The bundle on the state of the fleet's own agent, whose workload it finds running. */
class Agent {
  readonly #child: ChildProcess;
  readonly #log: LogLines;
  readonly #startedAt: number;

  /** `cache`: the folder that systemd gives such a service. */
  constructor(fleet: Fleet, program: string, cache: string) {
    const { config, log } = fleet.layout.agent(CELL);
    this.#log = new LogLines(log);
    this.#log.read();
    this.#startedAt = performance.now();
    const env = {
      ...process.env,
      PATH: `${dirname(process.execPath)}:${process.env["PATH"]}`,
      CACHE_DIRECTORY: cache,
      HOLDFAST_AGENT_LOG_LEVEL: "info",
    };
    const words = [program, config, log];
    const args = ["-c", `exec "$0" run --config "$1" >> "$2" 2>&1`, ...words];
    this.#child = spawn("sh", args, { env });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** ms from its start. */
  async connected(): Promise<number> {
    for (;;) {
      const isUp = this.#log.read().some(({ msg }) => msg === "link up");
      const ms = performance.now() - this.#startedAt;
      if (isUp) return ms;
      if (ms > CONNECT_MS_MAX) throw new Error("the agent did not connect in time");
      await sleep(POLL_MS);
    }
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const gone = once(this.#child, "exit");
    this.#child.kill("SIGTERM");
    await gone;
  }
}

async function bareStartMs(): Promise<number> {
  const startedAt = performance.now();
  await once(spawn(process.execPath, ["-e", "0"]), "exit");
  return performance.now() - startedAt;
}

function rssMib(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1_024;
}

function sizeOf(folder: string): number {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true });
  return files
    .filter((each) => each.isFile())
    .reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).size, 0);
}
