/**
 * Test support: a collector as OTLP over HTTP has it. It decodes by the descriptors that the OpenTelemetry project
 * publishes (release 1.10 of opentelemetry-proto) with another library than the hub encodes with, and answers what
 * the test says.
 */
import { readFileSync } from "node:fs";
import { createServer as createPlain, type IncomingHttpHeaders, type Server } from "node:http";
import { createServer as createTls } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import protobuf from "protobufjs";
import "protobufjs/ext/descriptor/index.js";

const OFFICIAL = readFileSync(join(import.meta.dirname, "opentelemetry-1.10.binpb"));
const root = (
  protobuf.Root as unknown as { fromDescriptor(set: Uint8Array): protobuf.Root }
).fromDescriptor(OFFICIAL);
const COLLECTOR = "opentelemetry.proto.collector";
const TYPES: Readonly<Record<string, string>> = {
  "/v1/logs": `${COLLECTOR}.logs.v1.ExportLogsService`,
  "/v1/metrics": `${COLLECTOR}.metrics.v1.ExportMetricsService`,
};

type Attributes = Readonly<Record<string, string | number>>;
export type SeenLog = Readonly<{
  resource: Attributes;
  attributes: Attributes;
  body: string;
  severity: string;
  event: string;
  timeMs: number;
}>;
export type SeenPoint = Readonly<{
  resource: Attributes;
  attributes: Attributes;
  name: string;
  unit: string;
  kind: "gauge" | "sum" | "histogram";
  value: number;
  timeMs: number;
  buckets?: readonly number[];
  bounds?: readonly number[];
}>;

export type Said = Readonly<{
  status: number;
  headers?: Readonly<Record<string, string>>;
  /** Of the response message of the signal. */
  message?: object;
}>;
export type Asked = Readonly<{ path: string; headers: IncomingHttpHeaders; bytes: number }>;

export type Collector = Readonly<{
  endpoint: string;
  asked: Asked[];
  logs: SeenLog[];
  points: SeenPoint[];
  close(): Promise<void>;
}>;

/** `say` answers each request; what it does not take with 200 is not kept. */
export async function startCollector(
  say: (asked: Asked) => Said | Promise<Said> = () => ({ status: 200 }),
  tls?: Readonly<{ key: string; cert: string }>,
): Promise<Collector> {
  const seen = { asked: [] as Asked[], logs: [] as SeenLog[], points: [] as SeenPoint[] };
  const answered = async (
    path: string,
    headers: IncomingHttpHeaders,
    body: Buffer,
  ): Promise<Readonly<{ said: Said; answer: Uint8Array }>> => {
    const type = TYPES[path];
    if (type === undefined) return { said: { status: 404 }, answer: new Uint8Array() };
    const plain = gunzipSync(body);
    const asked = { path, headers, bytes: plain.length };
    seen.asked.push(asked);
    const said = await say(asked);
    const Request = root.lookupType(`${type}Request`);
    const request = Request.toObject(Request.decode(plain), {
      longs: Number,
      enums: String,
    }) as Tree;
    if (said.status === 200) {
      seen.logs.push(...logsOf(request));
      seen.points.push(...pointsOf(request));
    }
    const Response = root.lookupType(`${type}Response`);
    const answer = Response.encode(Response.fromObject(said.message ?? {})).finish();
    return { said, answer };
  };
  const listener: Parameters<typeof createPlain>[1] & {} = (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", async () => {
      const body = Buffer.concat(chunks);
      const { said, answer } = await answered(request.url ?? "", request.headers, body);
      const contentType = { "content-type": "application/x-protobuf" };
      response.writeHead(said.status, { ...contentType, ...said.headers }).end(answer);
    });
  };
  const server: Server = tls === undefined ? createPlain(listener) : createTls(tls, listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    ...seen,
    endpoint: `${tls === undefined ? "http" : "https"}://localhost:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** As the library gives messages: by the names of the descriptors; fields that are not set are absent. */
type Pair = Readonly<{
  key: string;
  value: Readonly<{ string_value?: string; int_value?: number; double_value?: number }>;
}>;
type Resource = Readonly<{ attributes?: readonly Pair[] }>;
type Point = Readonly<{
  attributes?: readonly Pair[];
  time_unix_nano: number;
  as_double?: number;
  count?: number;
  bucket_counts?: readonly number[];
  explicit_bounds?: readonly number[];
}>;
type Points = Readonly<{ data_points: readonly Point[] }>;
type Metric = Readonly<{
  name: string;
  unit?: string;
  gauge?: Points;
  sum?: Points;
  histogram?: Points;
}>;
type LogRecord = Readonly<{
  attributes?: readonly Pair[];
  time_unix_nano: number;
  body?: Readonly<{ string_value?: string }>;
  severity_text?: string;
  event_name?: string;
}>;
type Tree = Readonly<{
  resource_logs?: readonly Readonly<{
    resource: Resource;
    scope_logs: readonly Readonly<{ log_records: readonly LogRecord[] }>[];
  }>[];
  resource_metrics?: readonly Readonly<{
    resource: Resource;
    scope_metrics: readonly Readonly<{ metrics: readonly Metric[] }>[];
  }>[];
}>;

function attributesOf(list: readonly Pair[] = []): Attributes {
  return Object.fromEntries(
    list.map(({ key, value: { string_value, int_value, double_value } }) => [
      key,
      string_value ?? int_value ?? double_value ?? "",
    ]),
  );
}

function logsOf({ resource_logs = [] }: Tree): readonly SeenLog[] {
  return resource_logs.flatMap(({ resource, scope_logs }) =>
    scope_logs.flatMap(({ log_records }) =>
      log_records.map((record) => ({
        resource: attributesOf(resource.attributes),
        attributes: attributesOf(record.attributes),
        body: record.body?.string_value ?? "",
        severity: record.severity_text ?? "",
        event: record.event_name ?? "",
        timeMs: record.time_unix_nano / 1e6,
      })),
    ),
  );
}

function pointsOf({ resource_metrics = [] }: Tree): readonly SeenPoint[] {
  return resource_metrics.flatMap(({ resource, scope_metrics }) =>
    scope_metrics
      .flatMap(({ metrics }) => metrics)
      .flatMap((metric) => {
        const kind = (["gauge", "sum", "histogram"] as const).find((each) => each in metric);
        if (kind === undefined) throw new Error(`${metric.name} is of no kind`);
        return (metric[kind]?.data_points ?? []).map((point) => ({
          resource: attributesOf(resource.attributes),
          attributes: attributesOf(point.attributes),
          ...{ name: metric.name, unit: metric.unit ?? "", kind },
          value: point.as_double ?? point.count ?? Number.NaN,
          timeMs: point.time_unix_nano / 1e6,
          ...(point.bucket_counts && { buckets: point.bucket_counts }),
          ...(point.explicit_bounds && { bounds: point.explicit_bounds }),
        }));
      }),
  );
}
