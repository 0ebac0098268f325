/** Telemetry through the wall: over the API as staff and as tenants, over the store as agents of different cells. */
import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { InstanceService } from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { SubscriptionService } from "@holdfast/proto/holdfast/api/v1/subscription_pb.js";
import {
  LogOrder,
  type TailLogsResponse,
  TelemetryService,
} from "@holdfast/proto/holdfast/api/v1/telemetry_pb.js";
import { ConditionStatus } from "@holdfast/proto/holdfast/model/v1/condition_pb.js";
import {
  LogEncoding,
  LogLinesSchema,
  MetricKind,
  TelemetryClass,
  TelemetrySchema,
} from "@holdfast/proto/holdfast/model/v1/telemetry_pb.js";
import { uuidOf } from "@holdfast/shared/ids.ts";
import { beforeAll, describe, expect, it } from "vitest";
import type { AgentSession } from "../../link/port.ts";
import { useTestHub } from "../../testing-hub.ts";
import { joinCell, offerProduct, vendorIdOf } from "../../testing-product.ts";
import { appendOf, told } from "./take.ts";

const hub = useTestHub();
const CANARY = "canary of ";
const now = Date.now();

/** Ids of acme's and globex's own instances and of the pooled one, and the agents of their cells. */
const ids: Record<string, string> = {};
const agents: Record<string, AgentSession> = {};

const api = (who: keyof ReturnType<typeof hub>["tokens"]) =>
  hub().client(TelemetryService, hub().tokens[who]);

function linesOf(texts: readonly string[], from: number, timeMs = now) {
  const lines = texts.map((text, at) => ({
    ...{ text, timeMs: BigInt(timeMs + at) },
    position: BigInt(from + at + 1),
  }));
  return toBinary(LogLinesSchema, create(LogLinesSchema, { lines }));
}

function saying(instanceId: string, texts: readonly string[], from = 0, timeMs = now) {
  return create(TelemetrySchema, {
    class: TelemetryClass.LOGS,
    logs: [
      {
        ...{ instanceId, resource: "worker", copy: "worker-1.1-r0" },
        ...{ firstTimeMs: BigInt(timeMs), lastTimeMs: BigInt(timeMs + texts.length - 1) },
        ...{ firstPosition: BigInt(from + 1), lastPosition: BigInt(from + texts.length) },
        ...{ lineCount: texts.length, encoding: LogEncoding.PLAIN },
        data: linesOf(texts, from, timeMs),
      },
    ],
  });
}

const say = (agent: string, message: Parameters<typeof told>[2]) => {
  const session = agents[agent];
  if (session === undefined) throw new Error(`no agent ${agent}`);
  return told(hub().parts.app, session, message);
};

beforeAll(async () => {
  await offerProduct(hub());
  const { client, tokens } = hub();
  const subscriptions = client(SubscriptionService, tokens.owner);
  const instances = client(InstanceService, tokens.owner);
  for (const tenant of ["acme", "globex"]) {
    const metadata = { name: "pro", tenant };
    await subscriptions.createSubscription({ subscription: { metadata, spec: { plan: "pro" } } });
  }
  const make = async (key: string, name: string, tenant: string, cell: string) => {
    const bought = tenant === "" ? { plan: "free" } : { plan: "pro", subscription: "pro" };
    const spec = { product: "etl", release: "1.0.0", cell, parameters: { source: "x.db" } };
    const { instance } = await instances.createInstance({
      instance: { metadata: { name, tenant }, spec: { ...spec, ...bought } },
    });
    ids[key] = instance?.metadata?.id ?? "";
  };
  await make("acme", "etl", "acme", "acme-cell");
  await make("globex", "etl", "globex", "globex-cell");
  await make("pooled", "etl-free", "", "hosted");
  for (const cell of ["acme-cell", "globex-cell", "hosted"]) {
    const { principal } = await joinCell(hub(), cell);
    agents[cell] = { ...principal, session: 1n, active: true };
  }
  await subscriptions.createSubscription({
    subscription: {
      metadata: { name: "free", tenant: "acme" },
      spec: { plan: "free", instance: "etl-free" },
    },
  });
  await say("acme-cell", saying(ids["acme"] ?? "", [`${CANARY}acme`, "second"]));
  await say("globex-cell", saying(ids["globex"] ?? "", [`${CANARY}globex`]));
  await say("hosted", saying(ids["pooled"] ?? "", [`${CANARY}the pool`]));
});

const codeOf = async (call: Promise<unknown>) =>
  call.then(
    () => "OK",
    (error: unknown) => Code[ConnectError.from(error).code],
  );

describe("logs", () => {
  const texts = (lines: readonly { text: string }[]) => lines.map(({ text }) => text);

  it("are the tenant's own where an instance is its own, and all of them for staff", async () => {
    const own = await api("acmeOwner").queryLogs({ instance: "etl" });
    expect(texts(own.lines)).toEqual([`${CANARY}acme`, "second"]);
    expect(own.lines[0]).toMatchObject({ instance: "etl", resource: "worker" });
    const staff = await api("owner").queryLogs({ instance: "etl", tenant: "globex" });
    expect(texts(staff.lines)).toEqual([`${CANARY}globex`]);
    const pool = await api("viewer").queryLogs({ instance: "etl-free" });
    expect(texts(pool.lines)).toEqual([`${CANARY}the pool`]);
  });

  it("of a pooled instance do not exist for a tenant with a seat in it", async () => {
    for (const instance of ["etl-free", ids["pooled"] ?? ""]) {
      expect(await codeOf(api("acmeOwner").queryLogs({ instance }))).toBe("NotFound");
    }
    expect(await codeOf(api("acmeOwner").queryLogs({ cell: "hosted" }))).toBe("NotFound");
    const metrics = api("acmeOwner").queryMetrics({ instance: "etl-free" });
    expect(await codeOf(metrics)).toBe("NotFound");
    expect(await codeOf(api("acmeOwner").queryHealth({ instance: "etl-free" }))).toBe("NotFound");
  });

  it("of another tenant or vendor do not exist, by whatever name they are asked for", async () => {
    const foreign = ids["globex"] ?? "";
    for (const who of ["acmeOwner", "strangerOwner"] as const) {
      expect(await codeOf(api(who).queryLogs({ instance: foreign }))).toBe("NotFound");
      expect(await codeOf(api(who).queryLogs({ cell: "globex-cell" }))).toBe("NotFound");
      const tail = api(who).tailLogs({ instance: foreign })[Symbol.asyncIterator]();
      expect(await codeOf(tail.next())).toBe("NotFound");
    }
  });

  it("of a cell are those of the instances in it that the caller sees", async () => {
    const own = await api("acmeViewer").queryLogs({ cell: "acme-cell" });
    expect(texts(own.lines)).toEqual([`${CANARY}acme`, "second"]);
    const hosted = await api("owner").queryLogs({ cell: "hosted" });
    expect(texts(hosted.lines)).toEqual([`${CANARY}the pool`]);
  });

  it("that an agent puts down for an instance of another cell are never seen", async () => {
    await say("hosted", saying(ids["acme"] ?? "", [`${CANARY}a forger`], 100));
    for (const who of ["acmeOwner", "owner"] as const) {
      const { lines } = await api(who).queryLogs({ instance: ids["acme"] ?? "" });
      expect(texts(lines)).toEqual([`${CANARY}acme`, "second"]);
    }
    const hosted = await api("owner").queryLogs({ cell: "hosted" });
    expect(texts(hosted.lines)).toEqual([`${CANARY}the pool`]);
  });

  it("are paged by tokens that hold for the same query and caller only", async () => {
    const query = { instance: "etl", tenant: "acme", pageSize: 1 };
    const first = await api("owner").queryLogs({ ...query, order: LogOrder.NEWEST_FIRST });
    expect(texts(first.lines)).toEqual(["second"]);
    const token = { pageToken: first.nextPageToken };
    const next = await api("owner").queryLogs({
      ...{ ...query, ...token },
      order: LogOrder.NEWEST_FIRST,
    });
    expect(texts(next.lines)).toEqual([`${CANARY}acme`]);
    expect(await codeOf(api("owner").queryLogs({ ...query, ...token }))).toBe("InvalidArgument");
    const other = { ...query, ...token, order: LogOrder.NEWEST_FIRST };
    expect(await codeOf(api("acmeOwner").queryLogs(other))).toBe("InvalidArgument");
  });

  it.each([
    { it: "neither an instance nor a cell", request: {} },
    { it: "both", request: { instance: "etl", cell: "acme-cell" } },
    {
      it: "an end before the beginning",
      request: { instance: "etl", startTime: timestampFromMs(9), endTime: timestampFromMs(8) },
    },
    { it: "a text that is too long", request: { instance: "etl", contains: "x".repeat(201) } },
    { it: "a forged token", request: { instance: "etl", pageToken: "AAAA" } },
  ])("are refused for $it", async ({ request }) => {
    expect(await codeOf(api("acmeOwner").queryLogs(request))).toBe("InvalidArgument");
  });

  it("are followed as they arrive, and from where a broken connection was", async () => {
    const stop = new AbortController();
    const open = (pageToken = "") =>
      api("acmeOwner")
        .tailLogs({ instance: "etl", pageToken }, { signal: stop.signal })
        [Symbol.asyncIterator]();
    const until = async (stream: AsyncIterator<TailLogsResponse>, text: string) => {
      const seen: string[] = [];
      for (let token = ""; ; ) {
        const { value } = (await stream.next()) as { value: TailLogsResponse };
        token = value.pageToken || token;
        seen.push(...texts(value.lines));
        if (seen.includes(text)) return { seen, token };
      }
    };
    const stream = open();
    const first = (await stream.next()) as { value: TailLogsResponse };
    expect(first.value.lines).toEqual([]);
    await say("acme-cell", saying(ids["acme"] ?? "", ["third"], 2));
    const { token, seen } = await until(stream, "third");
    expect(seen).toEqual(["third"]);
    await say("globex-cell", saying(ids["globex"] ?? "", ["not for acme"], 1));
    await say("acme-cell", saying(ids["acme"] ?? "", ["fourth"], 3));
    expect((await until(open(token), "fourth")).seen).toEqual(["fourth"]);
    stop.abort();
  });

  it("come with what is missing of them", async () => {
    const place = { instanceId: ids["acme"] ?? "", resource: "worker" };
    const lost = { class: TelemetryClass.LOGS, reason: "BUFFER_FULL", count: 1_204n };
    const span = { firstTimeMs: BigInt(now - 50), lastTimeMs: BigInt(now) };
    const note = { id: "life:1", ...place, ...lost, ...span };
    const forged = { ...note, id: "life:2", instanceId: ids["globex"] ?? "" };
    await say("acme-cell", create(TelemetrySchema, { missing: [note, forged] }));
    const { missing } = await api("acmeOwner").queryLogs({ instance: "etl" });
    expect(missing).toEqual([
      expect.objectContaining({
        ...{ instance: "etl", reason: "BUFFER_FULL", count: 1_204n },
        startTime: timestampFromMs(now - 50),
      }),
    ]);
    expect((await api("globexOwner").queryLogs({ instance: "etl" })).missing).toEqual([]);
  });
});

describe("metrics and health", () => {
  it("are answered for the caller's own instance, in steps that are bounded", async () => {
    const points = [0, 1, 2].map((n) => ({ timeMs: BigInt(now - n * 1_000), value: n }));
    const series = { resource: "worker", name: "cpu_cores", kind: MetricKind.GAUGE, points };
    const metrics = [{ instanceId: ids["acme"] ?? "", ...series }];
    await say("acme-cell", create(TelemetrySchema, { metrics }));
    const startTime = timestampFromMs(now - 30 * 86_400_000);
    const endTime = timestampFromMs(now + 1);
    const query = { instance: "etl", startTime, endTime, stepSeconds: 1 };
    const answer = await api("acmeOwner").queryMetrics(query);
    expect(answer.stepSeconds).toBe(2_593);
    expect(answer.series).toEqual([
      expect.objectContaining({ resource: "worker", name: "cpu_cores" }),
    ]);
    expect(answer.series[0]?.points[0]).toMatchObject({ min: 0, max: 2, mean: 1, last: 0 });
    const theirs = await api("globexOwner").queryMetrics({ instance: "etl" });
    expect(theirs.series).toEqual([]);
  });

  it("say what an instance was like, newest first", async () => {
    const sample = (at: number, status: ConditionStatus) => ({
      ...{ instanceId: ids["acme"] ?? "", timeMs: BigInt(now + at) },
      conditions: [{ type: "Ready", status, reason: "R", message: "m" }],
      resources: [{ id: "worker", kind: "process", phase: "ready" }],
    });
    const health = [sample(0, ConditionStatus.TRUE), sample(1, ConditionStatus.FALSE)];
    await say("acme-cell", create(TelemetrySchema, { health }));
    const first = await api("acmeOwner").queryHealth({ instance: "etl", pageSize: 1 });
    expect(first.samples[0]?.conditions[0]).toMatchObject({ type: "Ready", status: "False" });
    const pageToken = first.nextPageToken;
    const next = await api("acmeOwner").queryHealth({ instance: "etl", pageSize: 1, pageToken });
    expect(next.samples[0]?.conditions[0]).toMatchObject({ status: "True" });
    expect((await api("globexOwner").queryHealth({ instance: "etl" })).samples).toEqual([]);
  });
});

describe("a message of an agent", () => {
  const bad = (change: object) => () => {
    const message = saying(ids["acme"] ?? "", ["x"]);
    Object.assign(message.logs[0] ?? {}, change);
    const cellId = uuidOf("instance", ids["acme"] ?? "");
    return appendOf({ vendorId: vendorIdOf(hub()), cellId, agentId: cellId }, message, now);
  };

  it.each([
    { it: "an id of another kind", change: { instanceId: "cel_00" } },
    { it: "a path for a resource", change: { resource: "../etc" } },
    { it: "a copy with a slash", change: { copy: "a/b" } },
    { it: "an unknown encoding", change: { encoding: 7 } },
    { it: "data that is too large", change: { data: new Uint8Array(256 * 1024 + 1) } },
    { it: "a position beyond what is counted", change: { lastPosition: 2n ** 60n } },
  ])("is refused as a whole for $it", ({ change }) => {
    expect(bad(change)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });

  it("whose clock is wrong counts as told now", () => {
    const at = bad({ lastTimeMs: 2n ** 52n })().chunks[0]?.lastMs;
    expect(at).toBe(now + 3_600_000);
  });

  it("with bytes that are no lines harms no query", async () => {
    const message = saying(ids["globex"] ?? "", ["x"], 50);
    Object.assign(message.logs[0] ?? {}, { data: new Uint8Array([0xff, 0xff, 0xff]) });
    await say("globex-cell", message);
    const { lines, missing } = await api("globexOwner").queryLogs({ instance: "etl" });
    expect(lines[0]?.text).toBe(`${CANARY}globex`);
    expect(missing).toEqual([expect.objectContaining({ reason: "STORE_DAMAGED", count: 1n })]);
  });
});
