/** From what agents tell to what a collector gets: the hub's real API, store and export thread, and a real receiver. */
import { chmodSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { InstanceService } from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { SubscriptionService } from "@holdfast/proto/holdfast/api/v1/subscription_pb.js";
import { ConditionStatus } from "@holdfast/proto/holdfast/model/v1/condition_pb.js";
import { HealthSampleSchema, MetricKind } from "@holdfast/proto/holdfast/model/v1/telemetry_pb.js";
import { systemClock } from "@holdfast/shared/clock.ts";
import { idOf, uuidOf } from "@holdfast/shared/ids.ts";
import { pemOf } from "@holdfast/shared/pem.ts";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import type { OtlpConfig } from "../config.ts";
import { createMetrics } from "../metrics.ts";
import { createAuthority } from "../pki/authority.ts";
import { issueServerCertificate } from "../pki/server-certificate.ts";
import { taskContext } from "../store/context.ts";
import * as owners from "../store/instance-owners.ts";
import { silentLog } from "../store/testing.ts";
import { readWithContext } from "../store/tx.ts";
import type { Append } from "../telemetry/port.ts";
import { chunkOf, missingOf, T0 } from "../telemetry/telemetry.fixture.ts";
import { useTestHub } from "../testing-hub.ts";
import { joinCell, offerProduct } from "../testing-product.ts";
import { type Collector, type Said, startCollector } from "./collector.test-world.ts";
import { HANDED_BYTES_MAX, startExporter } from "./exporter.ts";
import type { Outcome, Signal } from "./port.ts";

const hub = useTestHub();
const CLOSE_MS_MAX = 10_000;
const ids: Record<string, string> = {};
const from: Record<string, Pick<Append, "vendorId" | "cellId" | "agentId">> = {};
let folder = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hf-otlp-"));
  await offerProduct(hub());
  const { client, tokens } = hub();
  const instances = client(InstanceService, tokens.owner);
  const make = async (name: string, tenant: string, cell: string) => {
    const bought = tenant === "" ? { plan: "free" } : { plan: "pro", subscription: "pro" };
    const spec = { product: "etl", release: "1.0.0", cell, parameters: { source: "x.db" } };
    const { instance } = await instances.createInstance({
      instance: { metadata: { name, tenant }, spec: { ...spec, ...bought } },
    });
    ids[name] = uuidOf("instance", instance?.metadata?.id ?? "");
  };
  const subscriptions = client(SubscriptionService, tokens.owner);
  const metadata = { name: "pro", tenant: "acme" };
  await subscriptions.createSubscription({ subscription: { metadata, spec: { plan: "pro" } } });
  await make("etl", "acme", "acme-cell");
  await make("etl-free", "", "hosted");
  for (const cell of ["acme-cell", "hosted"]) {
    const { vendorId, cellId, agentId } = (await joinCell(hub(), cell)).principal;
    from[cell] = { vendorId, cellId, agentId };
  }
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const appendOf = (cell: string, parts: Partial<Append>): Append => {
  const who = from[cell];
  if (who === undefined) throw new Error(`no agent in ${cell}`);
  return { ...who, chunks: [], health: [], metrics: [], missing: [], ...parts };
};

/** `sent`: whatever became of it. */
function counter() {
  const counts = new Map<string, number>();
  return {
    counted(signal: Signal, outcome: Outcome, records: number) {
      const key = `${signal} ${outcome}`;
      counts.set(key, (counts.get(key) ?? 0) + records);
    },
    all: () => Object.fromEntries([...counts].filter(([, records]) => records > 0)),
  };
}

function exporting(collector: Pick<Collector, "endpoint">, about: Partial<OtlpConfig> = {}) {
  const { database, replica } = hub().parts.app;
  const counts = counter();
  const exporter = startExporter({
    settings: {
      ...{ endpoint: collector.endpoint, headersFile: undefined, caFile: undefined },
      ...{ requestMsMax: 5_000, batchBytesMax: 1 << 20, queueBytesMax: 1 << 26 },
      metricsMs: 3_600_000,
      ...about,
    },
    ...{ clock: systemClock, random: Math.random, log: silentLog },
    maker: { version: "1.2.3", replica },
    find: (vendorId, instanceIds) =>
      readWithContext(database, taskContext(vendorId, "export"), (tx) =>
        owners.list(tx, instanceIds),
      ),
    counted: counts.counted,
    hubMetrics: async () => {
      const all = await createMetrics(() => figures).registry.getMetricsAsJSON();
      return all.map((metric) => ({ ...metric, type: String(metric.type) }) as never);
    },
  });
  return { exporter, counts };
}

const figures = {
  ...{ version: "1.2.3", agentsConnected: 3, incarnation: 1n, certificateEndsAtMs: 5_000 },
  pool: { inUse: 1, idle: 2, waiting: 0, max: 16 },
  ...{ telemetryWaitingBytes: 0, otlpWaitingBytes: 0, fleet: undefined },
};

async function collecting(say?: () => Said, tls?: Parameters<typeof startCollector>[1]) {
  const collector = await startCollector(say, tls);
  onTestFinished(() => collector.close());
  return collector;
}

const until = async (what: string, isSo: () => boolean) => {
  for (let at = 0; !isSo(); at += 1) {
    if (at > 1_000) throw new Error(`never happened: ${what}`);
    await systemClock.sleep(10);
  }
};

function healthOf(instance: string) {
  const body = toBinary(
    HealthSampleSchema,
    create(HealthSampleSchema, {
      instanceId: idOf("instance", ids[instance] ?? ""),
      timeMs: BigInt(T0),
      conditions: [
        { type: "Ready", status: ConditionStatus.TRUE, reason: "READY" },
        { type: "Healthy", status: ConditionStatus.FALSE, reason: "PROBE_FAILED", message: "503" },
        { type: "Metered", status: ConditionStatus.UNKNOWN, reason: "STARTING" },
        { type: "Drifted", status: ConditionStatus.FALSE, reason: "AS_WANTED" },
      ],
      resources: [{ id: "worker", kind: "process", phase: "ready" }],
    }),
  );
  return { instanceId: ids[instance] ?? "", timeMs: T0, body };
}

/** Of acme's instance. */
function resourceOf() {
  const { agentId, vendorId, cellId } = appendOf("acme-cell", {});
  const instance = idOf("instance", ids["etl"] ?? "");
  return {
    "service.namespace": "vendor",
    "service.name": "etl",
    "service.instance.id": instance,
    "holdfast.vendor.id": idOf("vendor", vendorId),
    "holdfast.vendor.name": "vendor",
    "holdfast.tenant.id": expect.stringMatching(/^ten_[0-9a-f]{32}$/),
    "holdfast.tenant.name": "acme",
    "holdfast.cell.id": idOf("cell", cellId),
    "holdfast.cell.name": "acme-cell",
    "holdfast.agent.id": idOf("agent", agentId),
    "holdfast.instance.id": instance,
    "holdfast.instance.name": "etl",
    "holdfast.product.name": "etl",
  };
}

describe("what agents tell", () => {
  it("reaches the collector as log records and metrics, with whom it is of", async () => {
    const collector = await collecting();
    const { exporter, counts } = exporting(collector);
    const instanceId = ids["etl"] ?? "";
    const series = {
      ...{ instanceId, resource: "worker", name: "memory_mib", kind: MetricKind.GAUGE },
      points: [{ timeMs: T0, value: 42.5 }],
    };
    exporter.take(
      appendOf("acme-cell", {
        chunks: [chunkOf(["first", "second", "третья"], { instanceId })],
        metrics: [series, { ...series, name: "usage_rows", kind: MetricKind.COUNTER }],
        health: [healthOf("etl")],
        missing: [missingOf("note:1", { instanceId })],
      }),
    );
    await exporter.close(CLOSE_MS_MAX);
    const resource = resourceOf();
    const line = { "holdfast.resource.name": "worker", "holdfast.copy.name": "worker-1.1-r0" };
    expect(collector.logs).toMatchObject([
      { resource, body: "first", timeMs: T0, attributes: { ...line, "holdfast.log.position": 1 } },
      { resource, body: "second", timeMs: T0 + 1 },
      { resource, body: "третья", attributes: { "holdfast.log.position": 3 } },
      {
        resource,
        event: "holdfast.telemetry.missing",
        severity: "WARN",
        body: "1204 of logs of worker are missing (BUFFER_FULL)",
      },
      {
        event: "holdfast.condition",
        body: "503",
        attributes: { "holdfast.condition.type": "Healthy", "holdfast.condition.status": "false" },
      },
      { event: "holdfast.condition", body: "Metered: STARTING" },
    ]);
    const ofInstance = collector.points.filter((point) => "holdfast.instance.id" in point.resource);
    const named = ofInstance.map(({ name, kind, unit, value, attributes }) => [
      ...[name, kind, unit, value],
      attributes["holdfast.condition.type"] ?? attributes["holdfast.resource.name"],
    ]);
    expect(named).toEqual([
      ["holdfast.workload.memory_mib", "gauge", "MiBy", 42.5, "worker"],
      ["holdfast.workload.usage_rows", "sum", "", 42.5, "worker"],
      ["holdfast.instance.condition", "gauge", "", 1, "Ready"],
      ["holdfast.instance.condition", "gauge", "", 0, "Healthy"],
      ["holdfast.instance.condition", "gauge", "", 0, "Drifted"],
      ["holdfast.resource.ready", "gauge", "", 1, "worker"],
    ]);
    expect(ofInstance.every((point) => point.resource["holdfast.tenant.name"] === "acme")).toBe(
      true,
    );
    expect(counts.all()).toEqual({
      "logs sent": 6,
      "metrics sent": collector.points.length,
    });
  });

  it("of a pooled instance names no tenant", async () => {
    const collector = await collecting();
    const { exporter } = exporting(collector);
    const instanceId = ids["etl-free"] ?? "";
    exporter.take(appendOf("hosted", { chunks: [chunkOf(["pooled"], { instanceId })] }));
    await exporter.close(CLOSE_MS_MAX);
    expect(collector.logs).toMatchObject([{ body: "pooled" }]);
    expect(Object.keys(collector.logs[0]?.resource ?? {})).not.toContain("holdfast.tenant.id");
  });

  it("of another cell's instance, or of none, goes nowhere and is counted", async () => {
    const collector = await collecting();
    const { exporter, counts } = exporting(collector);
    for (const instanceId of [ids["etl"] ?? "", "01980000-0000-7000-8000-000000000bad"]) {
      exporter.take(appendOf("hosted", { chunks: [chunkOf(["forged", "x"], { instanceId })] }));
    }
    await exporter.close(CLOSE_MS_MAX);
    expect(collector.logs).toEqual([]);
    expect(counts.all()).toMatchObject({ "logs INSTANCE_UNKNOWN": 4 });
  });

  it("is counted where it cannot be read, and the rest goes", async () => {
    const collector = await collecting();
    const { exporter, counts } = exporting(collector);
    const instanceId = ids["etl"] ?? "";
    const good = chunkOf(["good"], { instanceId });
    const bad = { ...good, data: new Uint8Array([1, 2, 3]), lineCount: 9 };
    exporter.take(appendOf("acme-cell", { chunks: [bad, good] }));
    await exporter.close(CLOSE_MS_MAX);
    expect(collector.logs.map(({ body }) => body)).toEqual(["good"]);
    expect(counts.all()).toMatchObject({ "logs DAMAGED": 9, "logs sent": 1 });
  });

  it("in part refused by the collector is counted", async () => {
    const message = { partial_success: { rejected_log_records: 2, error_message: "too old" } };
    const collector = await collecting(() => ({ status: 200, message }));
    const { exporter, counts } = exporting(collector);
    const instanceId = ids["etl"] ?? "";
    exporter.take(appendOf("acme-cell", { chunks: [chunkOf(["a", "b", "c"], { instanceId })] }));
    await exporter.close(CLOSE_MS_MAX);
    expect(counts.all()).toMatchObject({ "logs sent": 1, "logs rejected": 2 });
  });

  it("waits for a collector that is busy", async () => {
    let asked = 0;
    const collector = await collecting(() => {
      asked += 1;
      return asked === 1 ? { status: 503, headers: { "retry-after": "1" } } : { status: 200 };
    });
    const { exporter, counts } = exporting(collector);
    const instanceId = ids["etl"] ?? "";
    exporter.take(appendOf("acme-cell", { chunks: [chunkOf(["patient"], { instanceId })] }));
    await until("it is there", () => collector.logs.length > 0);
    await exporter.close(CLOSE_MS_MAX);
    expect(counts.all()).toMatchObject({ "logs sent": 1 });
  });

  it("waits for nobody: a collector that never answers costs what is beyond the bounds", async () => {
    const never = new Promise<Said>(() => undefined);
    const collector = await startCollector(() => never);
    onTestFinished(() => collector.close());
    const queueBytesMax = 1 << 20;
    const { exporter, counts } = exporting(collector, { queueBytesMax, requestMsMax: 60_000 });
    const instanceId = ids["etl"] ?? "";
    const data = new Uint8Array(200 * 1024);
    const big = { ...chunkOf(["x"], { instanceId, plain: true }), data, lineCount: 10 };
    // Returns nothing to wait for.
    for (let n = 0; n < 500; n += 1) exporter.take(appendOf("acme-cell", { chunks: [big] }));
    expect(exporter.waitingBytes).toBeLessThanOrEqual(HANDED_BYTES_MAX + 2 * queueBytesMax);
    await exporter.close(500);
    const { "metrics STOPPED": _, ...logs } = counts.all();
    expect(logs["logs QUEUE_FULL"]).toBeGreaterThan(4_000);
    expect(Object.values(logs).reduce((sum, records) => sum + records, 0)).toBeLessThanOrEqual(
      5_000,
    );
  });
});

describe("the hub's own metrics", () => {
  it("go under the names of a scrape, with buckets of their own", async () => {
    const collector = await collecting();
    const { exporter } = exporting(collector);
    await exporter.close(CLOSE_MS_MAX);
    const own = collector.points.filter(
      (point) => point.resource["service.name"] === "holdfast-hub",
    );
    const of = (name: string) => own.filter((point) => point.name === name);
    expect(of("holdfast_hub_agents_connected")).toMatchObject([{ kind: "gauge", value: 3 }]);
    expect(of("holdfast_hub_usage_records_total")).toMatchObject([
      { kind: "sum", attributes: { verdict: "accepted" }, value: 0 },
      { attributes: { verdict: "duplicate" } },
      { attributes: { verdict: "quarantined" } },
    ]);
    const [batches] = of("holdfast_hub_link_batch_size");
    expect(batches).toMatchObject({ kind: "histogram", bounds: [1, 2, 4, 8, 16, 32, 64, 128] });
    expect(batches?.buckets).toHaveLength(9);
    expect(own.every((point) => point.resource["service.version"] === "1.2.3")).toBe(true);
  });
});

describe("the way to the collector", () => {
  it("has the headers of the file as it is now, and says who comes", async () => {
    const headersFile = join(folder, "headers");
    const write = (key: string) => {
      writeFileSync(headersFile, `authorization: Bearer ${key}\n`);
      chmodSync(headersFile, 0o600);
    };
    write("old");
    const collector = await collecting();
    const { exporter } = exporting(collector, { headersFile });
    const instanceId = ids["etl"] ?? "";
    const take = (text: string) =>
      exporter.take(appendOf("acme-cell", { chunks: [chunkOf([text], { instanceId })] }));
    take("one");
    await until("it is there", () => collector.logs.length === 1);
    write("new");
    take("two");
    await until("it is there", () => collector.logs.length === 2);
    await exporter.close(CLOSE_MS_MAX);
    const asked = collector.asked.filter(({ path }) => path === "/v1/logs");
    expect(asked.map(({ headers }) => headers.authorization)).toEqual(["Bearer old", "Bearer new"]);
    expect(asked[0]?.headers).toMatchObject({
      "content-type": "application/x-protobuf",
      "user-agent": "holdfast-hub/1.2.3",
    });
  });

  it("is taken over TLS to the authorities of the file alone", async () => {
    const now = Date.now();
    const [mine, other] = [await createAuthority("mine", now), await createAuthority("other", now)];
    const { privateKey, certificate } = await issueServerCertificate(mine, ["localhost"], now);
    const collector = await collecting(undefined, { key: privateKey, cert: certificate });
    const caOf = ({ certificate: der }: typeof mine, name: string) => {
      const path = join(folder, name);
      writeFileSync(path, pemOf("CERTIFICATE", der));
      return path;
    };
    const instanceId = ids["etl"] ?? "";
    const tell = async (caFile: string | undefined) => {
      const { exporter, counts } = exporting(collector, { caFile });
      exporter.take(appendOf("acme-cell", { chunks: [chunkOf(["over TLS"], { instanceId })] }));
      await exporter.close(CLOSE_MS_MAX);
      return counts.all();
    };
    expect(await tell(caOf(other, "other.pem"))).toMatchObject({ "logs STOPPED": 1 });
    expect(await tell(undefined)).toMatchObject({ "logs STOPPED": 1 });
    expect(collector.asked).toEqual([]);
    expect(await tell(caOf(mine, "mine.pem"))).toMatchObject({ "logs sent": 1 });
  });

  it("is not begun with files that cannot be used", () => {
    const collector = { endpoint: "http://127.0.0.1:9" };
    const none = join(folder, "none");
    expect(() => exporting(collector, { headersFile: none })).toThrow("otlp_headers_file");
    expect(() => exporting(collector, { caFile: none })).toThrow("otlp_ca_file");
  });
});
