/**
 * The hub's database goes away at random moments: each agent's streams come back, and what was measured and
 * wished meanwhile arrives, with nobody's help. Hub, link, database and outbox are the real ones.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { env } from "node:process";
import { CellService } from "@holdfast/proto/holdfast/api/v1/cell_pb.js";
import { InstanceService } from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { SubscriptionService } from "@holdfast/proto/holdfast/api/v1/subscription_pb.js";
import { systemClock } from "@holdfast/shared/clock.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { seriesDigest } from "@holdfast/shared/usage.ts";
import { expect, it } from "vitest";
import { enroll } from "../../agent/src/enroll.ts";
import type { Link } from "../../agent/src/link/link.ts";
import { UsageReport } from "../../agent/src/metering/report.ts";
import { openStore } from "../../agent/src/store/database.ts";
import { Outbox } from "../../agent/src/store/outbox.ts";
import { identityHub } from "../../hub/src/app/link/identity.ts";
import { linkHub } from "../../hub/src/app/link/link-hub.ts";
import type { Servers } from "../../hub/src/hub-parts.ts";
import { startIdentityServer } from "../../hub/src/link/identity-server.ts";
import { startLinkServer } from "../../hub/src/link/link-server.ts";
import { openDatabase } from "../../hub/src/store/database.ts";
import { startTestStore } from "../../hub/src/store/testing.ts";
import { type TestWay, wayTo } from "../../hub/src/store/testing-way.ts";
import { startTestHub, type TestHub } from "../../hub/src/testing-hub.ts";
import { offerProduct } from "../../hub/src/testing-product.ts";
import { cleanups, connect, fleet } from "./fleet.ts";
import { enrolled, linkOf, MemoryAgent } from "./memory-agent.ts";
import { eventually, MemoryHub, quiet } from "./world.ts";

/** More by hand: HOLDFAST_TEST_ROUNDS=100. */
const ROUNDS = Number(env["HOLDFAST_TEST_ROUNDS"] ?? 3);
/** From the database's return: a wait of the link (10 s), one of the report stream (10 s), slow machines. */
const BACK_MS_MAX = 30_000;
const ROUND_MS_MAX = 45_000;
const TENANTS = ["acme", "globex"] as const;

/** Repeats with HOLDFAST_TEST_SEED (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

async function breakableHub(): Promise<{ hub: TestHub; way: TestWay }> {
  const store = await startTestStore();
  await store.database.close();
  const way = await wayTo(store);
  const { app, key } = way;
  const common = { clock: systemClock, random: Math.random, log: quiet };
  const database = await openDatabase({ ...common, app, key });
  const close = async () => {
    await database.close();
    await way.close();
    await store.cluster.stop();
    rmSync(store.dataDir, { recursive: true, force: true });
  };
  const hub = await startTestHub({ ...store, database, close });
  cleanups.push(() => hub.close());
  return { hub, way };
}

async function serveLink({ parts, address }: TestHub): Promise<void> {
  const { app, keyring, state } = parts;
  const listener = {
    ...{ host: "127.0.0.1", port: 0, clock: systemClock, random: Math.random, log: quiet },
    tls: () => ({ ...state.certificate(), ticketKeys: keyring.ticketKeys }),
    authorities: () => keyring.authorities(),
  };
  const link = await startLinkServer({ ...listener, hub: linkHub(app) });
  const identity = await startIdentityServer({ ...listener, hub: identityHub(app) });
  cleanups.push(() => Promise.all([link.stop(1_000), identity.stop(1_000)]));
  const api = { address: { port: Number(address.split(":")[1]) } };
  state.listening({ link, identity, api } as unknown as Servers);
}

/** An agent that measures without end, with its outbox on disk. */
class Meter {
  readonly tenant: string;
  readonly agent: MemoryAgent;
  readonly outbox: Outbox;
  #link: Link | undefined;
  #value = 0n;

  constructor(tenant: string, agent: MemoryAgent) {
    this.tenant = tenant;
    this.agent = agent;
    const directory = mkdtempSync(join(tmpdir(), "hf-meter-"));
    const { store } = openStore(join(directory, "agent.db"), Date.now());
    this.outbox = new Outbox(store.db);
    cleanups.push(async () => {
      await this.#link?.stop();
      store.close();
      rmSync(directory, { recursive: true, force: true });
    });
  }

  async restart(): Promise<void> {
    await this.#link?.stop();
    const { agent, outbox } = this;
    const report = new UsageReport({
      ...{ outbox, log: quiet, bootId: "boot", batchBell: agent.batchBell },
      identity: () => agent.identity(),
      nonce: () => crypto.getRandomValues(new Uint8Array(16)),
    });
    this.#link = linkOf(agent, { report });
  }

  get generation(): bigint {
    const [held] = this.agent.held.values();
    return held?.generation?.number ?? 0n;
  }

  measure(): void {
    const [instanceId] = this.agent.held.keys();
    if (instanceId === undefined) return;
    const parts = { resource: "worker", source: "file", dimensions: {} };
    const series = { ...parts, instanceId, seatId: instanceId, meter: "rows" };
    const digest = Buffer.from(seriesDigest(series)).toString("hex");
    const windowEndMs = Date.now() + Number(this.#value);
    this.#value += 1n;
    const window = { windowStartMs: windowEndMs - 1, windowEndMs };
    this.outbox.append([{ digest, series, ...window, value: this.#value }]);
    this.agent.batchBell.ring();
    this.agent.say(instanceId);
  }

  /** Tells whether all that is measured by now was accepted. */
  mark(): () => boolean {
    const { epoch, nextSeq } = this.outbox.state();
    return () => {
      const now = this.outbox.state();
      return now.epoch === epoch ? now.acceptedSeq >= nextSeq - 1n : now.acceptedSeq > 0n;
    };
  }
}

async function meterOf(hub: TestHub, tenant: string): Promise<Meter> {
  const { client, tokens } = hub;
  const subscription = { metadata: { name: "pro", tenant }, spec: { plan: "pro" } };
  await client(SubscriptionService, tokens.owner).createSubscription({ subscription });
  const instance = instanceOf(tenant, 0);
  await client(InstanceService, tokens.owner).createInstance({ instance });
  const cell = `${tenant}-cell`;
  const { joinToken } = await client(CellService, tokens.owner).createJoinToken({ cell });
  const signal = AbortSignal.timeout(BACK_MS_MAX);
  const about = { hostName: "host", agentVersion: "test" };
  const { identity } = await enroll({ token: joinToken, ...about, signal });
  return new Meter(tenant, new MemoryAgent(identity));
}

function instanceOf(tenant: string, round: number) {
  const bought = { product: "etl", release: "1.0.0", plan: "pro", subscription: "pro" };
  const spec = { ...bought, cell: `${tenant}-cell`, parameters: { source: `${round}.db` } };
  return { metadata: { name: "etl", tenant }, spec };
}

async function within<T>(what: string, look: () => Promise<T | false> | T | false): Promise<T> {
  const deadline = performance.now() + BACK_MS_MAX;
  for (let last: unknown; performance.now() < deadline; await systemClock.sleep(20)) {
    try {
      const found = await look();
      if (found !== false) return found;
    } catch (error) {
      last = error;
    }
    if (performance.now() >= deadline) throw new Error(what, { cause: last });
  }
  throw new Error(`not within ${BACK_MS_MAX} ms: ${what}`);
}

/** Away for up to 1.5 s, then up to five times again for a moment, as a server that does not start at once. */
async function loseDatabase(way: TestWay, random: () => number): Promise<void> {
  const losses = 1 + Math.floor(random() * 6);
  for (let n = 0; n < losses; n++) {
    way.cut();
    await systemClock.sleep(random() * (n === 0 ? 1_500 : 200));
    way.mend();
    await systemClock.sleep(random() * 60);
  }
}

it(
  "a database that goes away at any moment does no agent lasting harm",
  async () => {
    const random = randomOf(Number(env["HOLDFAST_TEST_SEED"] ?? 1));
    const { hub, way } = await breakableHub();
    await serveLink(hub);
    await offerProduct(hub);
    const meters: Meter[] = [];
    for (const tenant of TENANTS) meters.push(await meterOf(hub, tenant));
    for (const meter of meters) await meter.restart();
    await eventually("the first offers", () => meters.every(({ generation }) => generation > 0n));
    const ticking = new AbortController();
    const ticks = (async () => {
      while (!ticking.signal.aborted) {
        for (const meter of meters) meter.measure();
        await systemClock.sleep(20 + random() * 60, ticking.signal);
      }
    })();
    cleanups.push(async () => {
      ticking.abort();
      await ticks;
    });
    const instances = hub.client(InstanceService, hub.tokens.owner);
    for (let round = 1; round <= ROUNDS; round++) {
      const generations = meters.map(({ generation }) => generation);
      if (random() < 0.7) await meters[round % meters.length]?.restart();
      await systemClock.sleep(random() * 400);
      await loseDatabase(way, random);
      for (const { tenant } of meters) {
        const instance = instanceOf(tenant, round);
        await within("the API", () => instances.updateInstance({ instance }));
      }
      const marks = meters.map((meter) => meter.mark());
      await within(`what was measured before the end of round ${round}`, () =>
        marks.every((isAccepted) => isAccepted()),
      );
      await within(`what was wished in round ${round}`, () =>
        meters.every(({ generation }, index) => generation > (generations[index] ?? 0n)),
      );
    }
  },
  60_000 + ROUNDS * ROUND_MS_MAX,
);

it("an agent's leaving is recorded although the database is away when it leaves", async () => {
  class Forgetful extends MemoryHub {
    failures = 3;

    override async left(session: Parameters<MemoryHub["left"]>[0]): Promise<void> {
      if (this.failures-- > 0) throw new Fault("UNAVAILABLE", "DATABASE_UNAVAILABLE", "away");
      await super.left(session);
    }
  }
  const { world, hub } = await fleet(new Forgetful());
  const agent = await enrolled(world);
  const link = connect(agent);
  await eventually("the link", () => agent.isUp);
  await link.stop();
  await eventually("the record", () => hub.leftSessions.includes(1n));
  expect(hub.leftSessions).toEqual([1n]);
});
