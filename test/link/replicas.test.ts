/**
 * Two processes' worth of one hub over one PostgreSQL, each with listeners of its own: what is done at one reaches the
 * agent whose streams are at the other, at once, also when the connection that carries the word was lost.
 */
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { ActionService } from "@holdfast/proto/holdfast/api/v1/action_pb.js";
import { CellKind, CellService } from "@holdfast/proto/holdfast/api/v1/cell_pb.js";
import { InstanceService } from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { ActionKind } from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import { idOf } from "@holdfast/shared/ids.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { enroll } from "../../agent/src/enroll.ts";
import { readConfig } from "../../hub/src/config.ts";
import { openParts } from "../../hub/src/hub-parts.ts";
import { type ServeHost, serveParts } from "../../hub/src/serve.ts";
import {
  clusterDeps,
  openTestDatabase,
  startTestStore,
  type TestStore,
} from "../../hub/src/store/testing.ts";
import { offerProduct } from "../../hub/src/testing-product.ts";
import { connect } from "./fleet.ts";
import { MemoryAgent } from "./memory-agent.ts";
import { eventually } from "./world.ts";

type Replica = Readonly<{
  link: string;
  client<S extends DescService>(service: S): Client<S>;
  stop(): Promise<void>;
}>;

let store: TestStore;
let shared = "";
let first: Replica;
let second: Replica;

beforeAll(async () => {
  store = await startTestStore();
  shared = await mkdtemp(join(tmpdir(), "hf-replicas-"));
  first = await startReplica("first");
  second = await startReplica("second");
  await offerProduct({ client: first.client, tokens: { owner: ownerToken() } });
});

afterAll(async () => {
  await Promise.all([first.stop(), second.stop()]);
  await store.close();
  await rm(shared, { recursive: true, force: true });
});

const ownerToken = () => readFileSync(join(shared, "owner"), "utf8").trim();

/** As `serve` does it, over a database that others use as well. */
async function startReplica(name: string): Promise<Replica> {
  const dataDir = await mkdtemp(join(shared, `${name}-`));
  const config = readConfig({
    file: {
      data_dir: dataDir,
      api_listen: "127.0.0.1:0",
      link_listen: "127.0.0.1:0",
      identity_listen: "127.0.0.1:0",
      key_file: join(shared, "hub.key"),
      owner_token_file: join(shared, "owner"),
    },
    ...{ fileName: "test", fileDirectory: dataDir, env: {}, workingDirectory: dataDir },
  }).values;
  const host: ServeHost = {
    ...clusterDeps(dataDir),
    ...{ version: "test", onCrash: () => undefined, print: () => undefined },
  };
  const database = await openTestDatabase(store.cluster);
  const parts = await openParts(config, host, database);
  const stopped = new AbortController();
  const ended = serveParts(config, host, parts, stopped.signal);
  const said = join(dataDir, "endpoints.json");
  await eventually("it listens", () => existsSync(said));
  const { api, link } = JSON.parse(readFileSync(said, "utf8")) as { api: string; link: string };
  const token = ownerToken();
  const transport = createConnectTransport({
    baseUrl: `http://${api}`,
    httpVersion: "1.1",
    interceptors: [
      (next) => (request) => {
        request.header.set("authorization", `Bearer ${token}`);
        return next(request);
      },
    ],
  });
  return {
    link,
    client: (service) => createClient(service, transport),
    async stop() {
      stopped.abort();
      await ended;
      await parts.app.telemetry.close();
      await database.close();
    },
  };
}

/** Joined through the first process, connected to the second one. */
async function agentIn(cell: string, deps = {}): Promise<MemoryAgent> {
  const cells = first.client(CellService);
  const spec = { kind: CellKind.HOSTED, region: "local" };
  await cells.createCell({ cell: { metadata: { name: cell }, spec } });
  const { joinToken } = await cells.createJoinToken({ cell });
  const agent = await joined(joinToken);
  agent.at({ linkEndpoints: [second.link] });
  connect(agent, deps);
  await eventually("it is up", () => agent.isUp);
  return agent;
}

async function joined(token: string): Promise<MemoryAgent> {
  const signal = AbortSignal.timeout(50_000);
  const { identity } = await enroll({ token, hostName: "test", agentVersion: "0.1.0", signal });
  return new MemoryAgent(identity);
}

async function takeOver(cell: string): Promise<MemoryAgent> {
  const { joinToken } = await first.client(CellService).createTakeoverToken({ cell });
  return joined(joinToken);
}

describe("two processes with one identity, each at another process of the hub", () => {
  it("are both refused once it is certain, and wait for a takeover", async () => {
    // Short waits, but not none: whoever is refused comes back all the same.
    const deps = { random: () => 0.02 };
    const agent = await agentIn("twins", deps);
    const twin = new MemoryAgent(agent.identity());
    twin.life = "of the copy";
    twin.at({ linkEndpoints: [first.link] });
    connect(twin, deps);
    await eventually("both are told", () => {
      // A session that has nothing to say is not missed.
      for (const each of [agent, twin])
        each.say(idOf("instance", "01980000-0000-7000-8000-00000000aaaa"));
      return agent.freezes > 0 && twin.freezes > 0;
    });
    await eventually("both are down", () => !agent.isUp && !twin.isUp);
    expect(twin.changes.at(-1)?.message).toContain("two processes have this agent's identity");
    await takeOver("twins");
    await eventually("both are fenced", () => agent.takeovers > 0 && twin.takeovers > 0);
  });
});

const listeners = "select pid from pg_stat_activity where application_name = 'holdfast-listen'";

describe("an agent whose streams are at another process of the hub", () => {
  it("is told at once that it is fenced, without a word of its own", async () => {
    const old = await agentIn("fenced");
    expect(old.takeovers).toBe(0);
    await takeOver("fenced");
    await eventually("the old agent knows", () => old.takeovers > 0);
    expect(old.changes.at(-1)?.message).toContain("another agent has taken over");
  });

  it("is offered a change, and given an order, at once", async () => {
    const agent = await agentIn("changed");
    const spec = {
      ...{ product: "etl", release: "1.0.0", plan: "free", cell: "changed" },
      parameters: { source: "file.db" },
    };
    const metadata = { name: "changed" };
    await first.client(InstanceService).createInstance({ instance: { metadata, spec } });
    await eventually("the offer", () => agent.offers.length > 0);
    const kind = ActionKind.RESTART;
    await first.client(ActionService).createAction({ instance: "changed", kind });
    await eventually("the order", () => agent.orders.length > 0);
  });

  it("is told what happened while the word between the two was lost", async () => {
    const old = await agentIn("unheard");
    const { rows } = await store.database.pool.query<{ pid: number }>(listeners);
    expect(rows).toHaveLength(2);
    await store.database.pool.query(`select pg_terminate_backend(pid) from (${listeners}) l`);
    await takeOver("unheard");
    await eventually("the old agent knows", () => old.takeovers > 0);
  });
});
