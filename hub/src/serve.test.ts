/** The whole program in this process: start, serve, stop within the deadline, and start again on what is there. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { EventService } from "@holdfast/proto/holdfast/api/v1/event_pb.js";
import { MemberService } from "@holdfast/proto/holdfast/api/v1/member_pb.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readConfig } from "./config.ts";
import { startCollector } from "./otlp/collector.test-world.ts";
import { type ServeHost, serve } from "./serve.ts";
import { clusterDeps } from "./store/testing.ts";

const SHUTDOWN_MS_MAX = 4_000;
const START_MS_MAX = 60_000;

let dataDir = "";
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "hf-serve-"));
});
afterAll(() => rm(dataDir, { recursive: true, force: true }));

type Running = Readonly<{ api: string; printed: string[]; stop(): Promise<void> }>;

/** Resolves once the hub says where it listens. */
async function start(changed: Readonly<Record<string, string | number>> = {}): Promise<Running> {
  const file = {
    data_dir: dataDir,
    api_listen: "127.0.0.1:0",
    link_listen: "127.0.0.1:0",
    identity_listen: "127.0.0.1:0",
    owner_token_file: join(dataDir, "owner"),
    shutdown_ms_max: SHUTDOWN_MS_MAX,
    ...changed,
  };
  const places = { fileName: "test", fileDirectory: dataDir, workingDirectory: dataDir };
  const config = readConfig({ file, env: {}, ...places }).values;
  const printed: string[] = [];
  const host: ServeHost = {
    ...clusterDeps(dataDir),
    version: "test",
    onCrash: () => undefined,
    print: (line) => void printed.push(line),
  };
  const stop = new AbortController();
  const ended = serve(config, host, stop.signal);
  const endpoints = join(dataDir, "endpoints.json");
  await Promise.race([
    ended.then(() => Promise.reject(new Error("it ended by itself"))),
    expect.poll(() => existsSync(endpoints), { timeout: START_MS_MAX, interval: 20 }).toBe(true),
  ]);
  const { api } = JSON.parse(readFileSync(endpoints, "utf8")) as { api: string };
  return {
    api,
    printed,
    async stop() {
      stop.abort();
      await ended;
    },
  };
}

const ownerToken = () => readFileSync(join(dataDir, "owner"), "utf8").trim();

describe("a port that is taken", () => {
  it(
    "is named with its setting",
    async () => {
      const taken = createServer();
      await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
      const { port } = taken.address() as AddressInfo;
      const refused = start({ link_listen: `127.0.0.1:${port}` });
      await expect(refused).rejects.toMatchObject({
        code: "FAILED_PRECONDITION",
        reason: "CANNOT_LISTEN",
        message: `link_listen: 127.0.0.1:${port}: another program listens there (EADDRINUSE)`,
      });
      taken.close();
    },
    START_MS_MAX,
  );
});

describe("serve", () => {
  it(
    "tells a collector of itself, last at its end, and shows what became of it",
    async () => {
      const collector = await startCollector();
      const { endpoint } = collector;
      const hub = await start({ otlp_endpoint: endpoint, shutdown_ms_max: START_MS_MAX });
      const metrics = await (await fetch(`http://${hub.api}/metrics`)).text();
      expect(metrics).toContain("holdfast_hub_otlp_waiting_bytes 0");
      expect(metrics).toContain('holdfast_hub_otlp_records_total{signal="logs",outcome="sent"} 0');
      await hub.stop();
      const names = new Set(collector.points.map(({ name }) => name));
      expect(names).toContain("holdfast_hub_agents_connected");
      expect(names).toContain("process_resident_memory_bytes");
      await collector.close();
    },
    START_MS_MAX,
  );

  it(
    "starts with a database and an owner of its own, ends watchers at the stop, and goes on where it was",
    async () => {
      const first = await start();
      const transport = createGrpcTransport({ baseUrl: `http://${first.api}` });
      const headers = { authorization: `Bearer ${ownerToken()}` };
      const me = await createClient(MemberService, transport).whoAmI({}, { headers });
      expect(me.vendor).toBe("vendor");
      expect(first.printed).toEqual([]);
      for (const name of ["owner", "hub.key", "endpoints.json"]) {
        expect(statSync(join(dataDir, name)).mode & 0o777).toBe(0o600);
      }

      const watch = createClient(EventService, transport).watchEvents({}, { headers });
      const events = watch[Symbol.asyncIterator]();
      await events.next();
      // The watcher would stay for ever: that this ends at all is the deadline's doing.
      const [, last] = await Promise.all([first.stop(), events.next().catch(() => "cut")]);
      expect(last === "cut" || (last as IteratorResult<unknown>).done).toBe(true);
      expect(existsSync(join(dataDir, "endpoints.json"))).toBe(false);

      const token = ownerToken();
      const second = await start();
      const again = createGrpcTransport({ baseUrl: `http://${second.api}` });
      const same = await createClient(MemberService, again).whoAmI({}, { headers });
      expect(same.member?.metadata?.id).toBe(me.member?.metadata?.id);
      expect(ownerToken()).toBe(token);
      await second.stop();
    },
    2 * START_MS_MAX,
  );
});
