/**
 * What the link costs and how fast it tells a whole fleet: N simulated agents on the real link with mutual TLS, each
 * with a signed assignment of its own. Beside it, in the same run, bare node:http2 that holds as many streams for each
 * connection, and etcd's watch with N different keys, both with mutual TLS and by the same client library.
 *
 * HOLDFAST_BENCH_AGENTS: other numbers than 1000,5000. HOLDFAST_BENCH_LINK_HOME: a directory that is kept, so that a
 * second run need not enrol all agents again.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type BenchResult, type Figures, machine, quantile, rounded } from "./figures.ts";
import type { Crowd } from "./link/crowd.ts";
import { makeIdentities } from "./link/identity.ts";
import { wallMs } from "./link/messages.ts";
import { Ours } from "./link/ours.ts";
import type { Server } from "./link/server.ts";
import { Bare, Etcd, Watchers } from "./link/yardsticks.ts";

const SIZES = [1_000, 5_000];
const ROUNDS = 5;
const IDLE_MS = 20_000;
const SETTLE_MS = 5_000;
const WAIT_MS_MAX = 180_000;
/** About what an offer of the simulator's product takes on the wire. */
const PAYLOAD_BYTES = 1_300;

export async function bench(): Promise<BenchResult> {
  const asked = process.env["HOLDFAST_BENCH_AGENTS"];
  const sizes = asked === undefined ? SIZES : asked.split(",").map(Number);
  const results: Result[] = [];
  for (const size of sizes) results.push(await measure(size));
  const joined = (part: "figures" | "yardsticks" | "ratios") =>
    Object.assign({}, ...results.map((result) => result[part])) as Figures;
  return {
    name: "link",
    machine: machine(),
    figures: joined("figures"),
    yardsticks: joined("yardsticks"),
    ratios: joined("ratios"),
  };
}

type Result = Readonly<Record<"figures" | "yardsticks" | "ratios", Figures>>;

async function measure(agents: number): Promise<Result> {
  const kept = process.env["HOLDFAST_BENCH_LINK_HOME"];
  const home =
    kept === undefined ? mkdtempSync(join(tmpdir(), "hf-link-")) : join(kept, String(agents));
  mkdirSync(home, { recursive: true });
  try {
    const ours = await measureOurs(home, agents);
    const identities = await makeIdentities();
    const bare = await measureBare(home, agents, identities);
    const etcd = await measureEtcd(home, agents, identities);
    return resultOf(agents, ours, bare, etcd);
  } finally {
    if (kept === undefined) rmSync(home, { recursive: true, force: true });
  }
}

type Measured = Readonly<{
  connectPerSecond: number;
  rssPerAgentKib: number;
  cpuPerAgentUsPerS: number;
  fanOut: FanOut;
  reconnectMs: number;
  dropped: number;
}>;

type FanOut = Readonly<{ sinceCommit: readonly number[]; sinceCall: readonly number[] }>;

async function measureOurs(home: string, agents: number): Promise<Measured> {
  const ours = new Ours(home, agents);
  try {
    await ours.prepare();
    const { crowd } = ours;
    return await measureServer({
      crowd,
      server: () => ours.server,
      connect: () => ours.connect(),
      restart: async () => {
        await ours.startHub();
        return wallMs();
      },
    });
  } finally {
    await ours.stop();
  }
}

type Identities = Awaited<ReturnType<typeof makeIdentities>>;

async function measureBare(home: string, agents: number, { server, client }: Identities) {
  const bare = new Bare(home, server, PAYLOAD_BYTES);
  const watchers = new Watchers(agents);
  try {
    await bare.start();
    return await measureServer({
      crowd: watchers.crowd,
      server: () => bare.server as Server,
      connect: () => watchers.connect("bare", bare.port, client),
      restart: async () => {
        await bare.start();
        return wallMs();
      },
    });
  } finally {
    await watchers.stop();
    await bare.server?.end("SIGTERM");
  }
}

type Subject = Readonly<{
  crowd: Crowd;
  server(): Server;
  connect(): void;
  /** Gives the moment from which on it listens. */
  restart(): Promise<number>;
}>;

async function measureServer({ crowd, server, connect, restart }: Subject): Promise<Measured> {
  const empty = await server().ask({ type: "measure" }, "measured");
  const begunAt = wallMs();
  connect();
  const connectMs = (await crowd.allUp(WAIT_MS_MAX)) - begunAt;
  await sleep(SETTLE_MS);
  const full = await server().ask({ type: "measure" }, "measured");
  await sleep(IDLE_MS);
  const idle = await server().ask({ type: "measure" }, "measured");
  const fanOut = await fanOutOf(crowd, (round) =>
    server().ask({ type: "change", round }, "changed"),
  );
  const dropped = crowd.takeDropped();
  await server().end("SIGKILL");
  await crowd.noneUp(WAIT_MS_MAX);
  const listensAt = await restart();
  const reconnectMs = (await crowd.allUp(WAIT_MS_MAX)) - listensAt;
  return {
    connectPerSecond: (crowd.size / connectMs) * 1_000,
    rssPerAgentKib: (full.rssBytes - empty.rssBytes) / 1_024 / crowd.size,
    cpuPerAgentUsPerS: ((idle.cpuMs - full.cpuMs) * 1_000) / (IDLE_MS / 1_000) / crowd.size,
    ...{ fanOut, reconnectMs, dropped },
  };
}

type Change = Readonly<{ calledAt: number; committedAt: number }>;

/** The latencies of all rounds together. */
async function fanOutOf(crowd: Crowd, change: (round: number) => Promise<Change>): Promise<FanOut> {
  const sinceCommit: number[] = [];
  const sinceCall: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    crowd.forgetReceived();
    const { calledAt, committedAt } = await change(round);
    for (const at of await crowd.allReceived(WAIT_MS_MAX)) {
      sinceCommit.push(at - committedAt);
      sinceCall.push(at - calledAt);
    }
    await sleep(SETTLE_MS);
  }
  return { sinceCommit, sinceCall };
}

type EtcdMeasured = Readonly<{ fanOut: FanOut; rssPerAgentKib: number }>;

async function measureEtcd(
  home: string,
  agents: number,
  { server, client }: Identities,
): Promise<EtcdMeasured | undefined> {
  const etcd = await Etcd.start(home, server, client);
  if (etcd === undefined) {
    process.stderr.write("etcd is not on the PATH: no figures of it, and no ratios\n");
    return undefined;
  }
  const watchers = new Watchers(agents);
  try {
    const empty = etcd.rssBytes;
    watchers.connect("etcd", etcd.port, client);
    await watchers.crowd.allUp(WAIT_MS_MAX);
    await sleep(SETTLE_MS);
    const rssPerAgentKib = (etcd.rssBytes - empty) / 1_024 / agents;
    const fanOut = await fanOutOf(watchers.crowd, () => etcd.putAll(agents, PAYLOAD_BYTES));
    return { fanOut, rssPerAgentKib };
  } finally {
    await watchers.stop();
    await etcd.stop();
  }
}

function resultOf(agents: number, ours: Measured, bare: Measured, etcd?: EtcdMeasured): Result {
  const named = (values: Figures) =>
    Object.fromEntries(
      Object.entries(values).map(([name, value]) => [`${name}_${agents}`, rounded(value)]),
    );
  const server = (prefix: string, measured: Measured) => ({
    [`${prefix}connect_per_s`]: measured.connectPerSecond,
    [`${prefix}rss_per_agent_kib`]: measured.rssPerAgentKib,
    [`${prefix}idle_cpu_per_agent_us_per_s`]: measured.cpuPerAgentUsPerS,
    [`${prefix}reconnect_ms`]: measured.reconnectMs,
    [`${prefix}dropped`]: measured.dropped,
    ...fanOutFigures(prefix, measured.fanOut),
  });
  return {
    figures: named(server("", ours)),
    yardsticks: named({
      ...server("http2_", bare),
      ...(etcd && {
        etcd_rss_per_agent_kib: etcd.rssPerAgentKib,
        ...fanOutFigures("etcd_", etcd.fanOut),
      }),
    }),
    ratios: named({
      rss_per_agent_vs_bare_http2: ours.rssPerAgentKib / bare.rssPerAgentKib,
      reconnect_vs_bare_http2: ours.reconnectMs / bare.reconnectMs,
      ...(etcd && { fanout_p99_vs_etcd: p99(ours.fanOut) / p99(etcd.fanOut) }),
    }),
  };
}

const p99 = ({ sinceCommit }: FanOut) => quantile(sinceCommit, 0.99);

function fanOutFigures(prefix: string, { sinceCommit, sinceCall }: FanOut): Figures {
  return {
    [`${prefix}fanout_p50_ms`]: quantile(sinceCommit, 0.5),
    [`${prefix}fanout_p99_ms`]: quantile(sinceCommit, 0.99),
    [`${prefix}fanout_since_call_p99_ms`]: quantile(sinceCall, 0.99),
  };
}
