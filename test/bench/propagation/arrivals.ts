/**
 * How soon a commit is at the agent it concerns, over many agents that report meanwhile: one change after the other,
 * and after each a value put into etcd, whose watchers are as many, by the same client library.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Fleet } from "../../../scripts/fleet/fleet.ts";
import { type Figures, quantile, rounded } from "../figures.ts";
import { makeIdentities } from "../link/identity.ts";
import { Etcd, Watchers } from "../link/yardsticks.ts";
import { cpuMs } from "../processor.ts";
import type { Arrival, SteadyFleet } from "./steady-fleet.ts";

const COMMITS = 400;
/** What runs for the first time is slower. */
const WARM_UP_COMMITS = 20;
/** Between commits, at random, so that they meet the reports wherever these are. */
const PAUSE_MS_MAX = 100;
const WAIT_MS_MAX = 180_000;
const PAYLOAD_BYTES = 1_300;

export type Arrivals = Readonly<{
  ours: readonly Arrival[];
  /** Empty where there is no etcd. */
  etcd: readonly Omit<Arrival, "answerMs">[];
  hubCpuShare: number;
  reportsPerSecond: number;
  dropped: number;
}>;

export async function measureArrivals(
  fleet: Fleet,
  steady: SteadyFleet,
  home: string,
): Promise<Arrivals> {
  const { names } = steady;
  const rival = await Rival.start(home, names.length);
  const ours: Arrival[] = [];
  const etcd: Omit<Arrival, "answerMs">[] = [];
  try {
    const hubPid = fleet.endpoints()?.pid ?? 0;
    const before = { cpu: cpuMs(hubPid), reports: steady.reports, at: performance.now() };
    for (let at = 0; at < WARM_UP_COMMITS + COMMITS; at++) {
      // All over the fleet: neighbours in number are not neighbours in time.
      const which = Math.floor((at * names.length) / (WARM_UP_COMMITS + COMMITS));
      const arrival = await steady.change(names[which] ?? "", `change ${at}`);
      const other = await rival?.change(which);
      if (at >= WARM_UP_COMMITS) {
        ours.push(arrival);
        if (other !== undefined) etcd.push(other);
      }
      process.stderr.write(`\r${at + 1} of ${WARM_UP_COMMITS + COMMITS} commits`);
      await sleep(Math.random() * PAUSE_MS_MAX);
    }
    process.stderr.write("\n");
    const seconds = (performance.now() - before.at) / 1_000;
    return {
      ...{ ours, etcd },
      hubCpuShare: (cpuMs(hubPid) - before.cpu) / 1_000 / seconds,
      reportsPerSecond: (steady.reports - before.reports) / seconds,
      dropped: steady.takeDropped(),
    };
  } finally {
    await rival?.stop();
  }
}

/** etcd with as many watchers, each of a key of its own. */
class Rival {
  readonly #etcd: Etcd;
  readonly #watchers: Watchers;

  private constructor(etcd: Etcd, watchers: Watchers) {
    this.#etcd = etcd;
    this.#watchers = watchers;
  }

  /** Undefined where there is no etcd on the PATH. */
  static async start(home: string, watchers: number): Promise<Rival | undefined> {
    const folder = join(home, "rival");
    mkdirSync(folder);
    const { server, client } = await makeIdentities();
    const etcd = await Etcd.start(folder, server, client);
    if (etcd === undefined) return undefined;
    const rival = new Rival(etcd, new Watchers(watchers));
    rival.#watchers.connect("etcd", etcd.port, client);
    await rival.#watchers.crowd.allUp(WAIT_MS_MAX);
    return rival;
  }

  async change(watcher: number): Promise<Omit<Arrival, "answerMs">> {
    const { crowd } = this.#watchers;
    crowd.forgetReceived();
    const { calledAt, committedAt } = await this.#etcd.putOne(watcher, PAYLOAD_BYTES);
    const receivedAt = await crowd.receivedBy(String(watcher), WAIT_MS_MAX);
    return { sinceCall: receivedAt - calledAt, sinceCommit: receivedAt - committedAt };
  }

  async stop(): Promise<void> {
    await this.#watchers.stop();
    await this.#etcd.stop();
  }
}

export function arrivalFigures({ ours, hubCpuShare, ...rest }: Arrivals): Figures {
  return {
    commits: ours.length,
    ...p50p99(
      "commit_to_agent",
      ours.map(({ sinceCommit }) => sinceCommit),
    ),
    ...p50p99(
      "call_to_agent",
      ours.map(({ sinceCall }) => sinceCall),
    ),
    ...p50p99(
      "call_to_answer",
      ours.map(({ answerMs }) => answerMs),
    ),
    usage_batches_per_s: rounded(rest.reportsPerSecond),
    hub_cpu_percent_of_a_core: rounded(hubCpuShare * 100),
    sessions_dropped: rest.dropped,
  };
}

export function arrivalYardsticks({ etcd }: Arrivals): Figures {
  if (etcd.length === 0) return {};
  return {
    ...p50p99(
      "etcd_put_to_watcher",
      etcd.map(({ sinceCommit }) => sinceCommit),
    ),
    ...p50p99(
      "etcd_call_to_watcher",
      etcd.map(({ sinceCall }) => sinceCall),
    ),
  };
}

/** Empty where there is no etcd. */
export function arrivalRatios({ ours, etcd }: Arrivals): Figures {
  if (etcd.length === 0) return {};
  const p50 = (all: readonly Pick<Arrival, "sinceCall">[]) =>
    quantile(
      all.map(({ sinceCall }) => sinceCall),
      0.5,
    );
  return { call_to_agent_p50_vs_etcd: rounded(p50(ours) / p50(etcd)) };
}

function p50p99(name: string, samplesMs: readonly number[]): Figures {
  return {
    [`${name}_p50_ms`]: rounded(quantile(samplesMs, 0.5)),
    [`${name}_p99_ms`]: rounded(quantile(samplesMs, 0.99)),
  };
}
