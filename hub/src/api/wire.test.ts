/** One port for all callers: plain curl, gRPC, gRPC-Web and Connect, with TLS and (on loopback) without. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { connect as connectHttp2 } from "node:http2";
import { request as httpsRequest } from "node:https";
import { connect } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import {
  Health,
  HealthCheckResponse_ServingStatus,
} from "@holdfast/proto/grpc/health/v1/health_pb.js";
import { InstanceService } from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { ReleaseService } from "@holdfast/proto/holdfast/api/v1/release_pb.js";
import { describe, expect, it } from "vitest";
import { useTestHub } from "../testing-hub.ts";
import { listenApi } from "./server.ts";

const hub = useTestHub();
const LIST = "/holdfast.api.v1.InstanceService/ListInstances";
const BUF = join(import.meta.dirname, "../../../node_modules/.bin/buf");

/** Writes bytes and reads until the other end closes. */
function raw(text: string): Promise<string> {
  const [host = "", port = ""] = hub().address.split(":");
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect(Number(port), host, () => socket.write(text));
    socket.on("data", (chunk) => chunks.push(chunk));
    socket.on("close", () => resolve(Buffer.concat(chunks).toString()));
    socket.on("error", reject);
  });
}

function rawCall(body: string, contentType = "application/json"): Promise<string> {
  return raw(
    [
      `POST ${LIST} HTTP/1.1`,
      "Host: hub",
      "Connection: close",
      `Authorization: Bearer ${hub().tokens.owner}`,
      `Content-Type: ${contentType}`,
      `Content-Length: ${Buffer.byteLength(body)}`,
      "",
      body,
    ].join("\r\n"),
  );
}

const post = (path: string, init: RequestInit = {}) =>
  fetch(`http://${hub().address}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${hub().tokens.owner}` },
    body: "{}",
    ...init,
  });

describe("a call", () => {
  const ca = () => readFileSync(hub().caFile);
  const transports: readonly { it: string; make: () => Transport }[] = [
    {
      it: "Connect over HTTP/1.1",
      make: () =>
        createConnectTransport({ baseUrl: `http://${hub().address}`, httpVersion: "1.1" }),
    },
    {
      it: "Connect over HTTP/2 without TLS",
      make: () => createConnectTransport({ baseUrl: `http://${hub().address}`, httpVersion: "2" }),
    },
    {
      it: "gRPC without TLS",
      make: () => createGrpcTransport({ baseUrl: `http://${hub().address}` }),
    },
    {
      it: "gRPC over TLS",
      make: () =>
        createGrpcTransport({ baseUrl: `https://${hub().address}`, nodeOptions: { ca: ca() } }),
    },
    {
      it: "gRPC-Web over TLS and HTTP/1.1",
      make: () =>
        createGrpcWebTransport({
          baseUrl: `https://${hub().address}`,
          httpVersion: "1.1",
          nodeOptions: { ca: ca() },
        }),
    },
  ];
  it.each(transports)("by $it is answered", async ({ make }) => {
    const client = createClient(InstanceService, make());
    const headers = { authorization: `Bearer ${hub().tokens.owner}` };
    expect((await client.listInstances({}, { headers })).instances).toEqual([]);
  });

  it("as bytes on a socket, as curl sends them, is answered in JSON", async () => {
    const answer = await rawCall("{}");
    expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(answer.split("\r\n\r\n")[1]).toBe("{}");
    expect(answer.toLowerCase()).toContain("x-content-type-options: nosniff");
    expect(answer.toLowerCase()).toMatch(/x-request-id: [0-9a-f-]{36}/);
  });

  it("over TLS carries the header that keeps browsers on TLS", async () => {
    const headers = await new Promise<Record<string, unknown>>((resolve, reject) => {
      const asked = httpsRequest(`https://${hub().address}/healthz`, { ca: ca() }, (answer) => {
        answer.resume();
        resolve(answer.headers);
      });
      asked.on("error", reject);
      asked.end();
    });
    expect(headers["strict-transport-security"]).toContain("max-age");
  });

  it("keeps the caller's request id and shows it in an error", async () => {
    const id = "01980000-0000-7000-8000-0000000000aa";
    const answer = await post(LIST, {
      headers: { "content-type": "application/json", "x-request-id": id },
    });
    expect(answer.status).toBe(401);
    expect(answer.headers.get("x-request-id")).toBe(id);
    expect(await answer.text()).toContain(id);
  });
});

describe("buf curl by reflection", () => {
  const buf = async (args: readonly string[]) => {
    const header = `Authorization: Bearer ${hub().tokens.owner}`;
    const { stdout } = await promisify(execFile)(BUF, ["curl", ...args, "-H", header, "-d", "{}"]);
    return JSON.parse(stdout);
  };

  it("lists instances without TLS over HTTP/2", async () => {
    const url = `http://${hub().address}${LIST}`;
    expect(await buf(["--http2-prior-knowledge", "--protocol", "grpc", url])).toEqual({});
  });

  it("lists instances over TLS", async () => {
    expect(await buf(["--cacert", hub().caFile, `https://${hub().address}${LIST}`])).toEqual({});
  });
});

describe("what no client of ours sends", () => {
  it.each([
    { it: "an unknown path", path: "/admin", init: {}, status: 404 },
    {
      it: "an unknown method of a service",
      path: "/holdfast.api.v1.InstanceService/Drop",
      init: {},
      status: 404,
    },
    {
      it: "an unknown content type",
      path: LIST,
      init: { headers: { "content-type": "text/xml" } },
      status: 415,
    },
    {
      it: "GET where there is an RPC",
      path: LIST,
      init: { method: "GET", body: null },
      status: 405,
    },
    { it: "POST where there is a probe", path: "/healthz", init: {}, status: 405 },
    { it: "JSON that is cut", path: LIST, init: { body: "{" }, status: 400 },
    { it: "a field that does not exist", path: LIST, init: { body: '{"nope":1}' }, status: 400 },
    {
      it: "JSON nested 10,000 deep",
      path: LIST,
      init: { body: `{"labels":${"[".repeat(10_000)}` },
      status: 400,
    },
  ])("$it is answered with $status in plain words", async ({ path, init, status }) => {
    const answer = await post(path, init);
    expect(answer.status).toBe(status);
    const text = await answer.text();
    expect(text).not.toMatch(/\bat .*\.(ts|js):\d+/);
    expect(text.length).toBeLessThan(2_000);
  });

  it("a body of more than 4 MiB is refused", async () => {
    const client = createClient(
      ReleaseService,
      createGrpcTransport({ baseUrl: `http://${hub().address}` }),
    );
    const headers = { authorization: `Bearer ${hub().tokens.owner}` };
    const digest = `sha256:${"0".repeat(64)}`;
    const data = new Uint8Array(5 * 1024 * 1024);
    const sent = client.uploadArtefact({ digest, size: 9n, data }, { headers });
    await expect(sent).rejects.toSatisfy(
      (error) => ConnectError.from(error).code === Code.ResourceExhausted,
    );
  });

  it("a header of more than 16 KiB is refused and the connection ends", async () => {
    const answer = await raw(
      `GET /healthz HTTP/1.1\r\nHost: hub\r\nX-Long: ${"x".repeat(20_000)}\r\n\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 431 /);
  });

  it("rubbish is refused and the connection ends", async () => {
    expect(await raw("\x00\x01\x02\r\n\r\n")).toMatch(/^HTTP\/1\.1 400 /);
  });

  it("cleartext from beyond loopback is refused with the reason", async () => {
    const { privateKey, certificate } = hub().parts.state.certificate();
    const pair = { key: privateKey, certificate };
    const server = await listenApi({ host: "0.0.0.0", port: 0 }, pair, () => undefined);
    const answer = fetch(`http://127.0.0.1:${server.address.port}/healthz`);
    expect(await (await answer).text()).toContain("https");
    await server.close(1_000);
  });
});

describe("a message that is none", () => {
  type Sent = Readonly<{
    path?: string;
    type: string;
    headers?: Record<string, string>;
    body: Uint8Array;
  }>;
  const answered = async ({ path = LIST, type, headers = {}, body }: Sent) => {
    const token = `Bearer ${hub().tokens.owner}`;
    const answer = await post(path, {
      headers: { "content-type": type, authorization: token, ...headers },
      body: new Uint8Array(body),
    });
    return answer.text();
  };
  const framed = (flags: number, length: number, body: Uint8Array) =>
    Buffer.concat([Uint8Array.of(flags, 0, 0, 0, length), body]);
  const broken = Uint8Array.of(0x0a, 0x7f, 0x01);

  it.each([
    ["bytes that are no protobuf", { type: "application/proto", body: broken }],
    ["groups nested 101 deep", { type: "application/proto", body: new Uint8Array(101).fill(0x0b) }],
    [
      "gzip that is cut",
      {
        type: "application/json",
        headers: { "content-encoding": "gzip" },
        body: gzipSync("{}".padEnd(500)).subarray(0, 15),
      },
    ],
    ["a key twice", { type: "application/json", body: Buffer.from('{"tenant":"a","tenant":"b"}') }],
    [
      "JSON nested 101 deep",
      { type: "application/json", body: Buffer.from(`{"labels":${"[".repeat(101)}`) },
    ],
  ])("such as %s is the caller's fault, with a reason", async (_, sent) => {
    const answer = await answered(sent);
    expect(answer).toContain('"code":"invalid_argument"');
    expect(answer).toContain('"reason":"REQUEST_MALFORMED"');
    expect(answer).toContain('"request_id"');
  });

  it.each([
    ["gRPC-Web, bytes that are no protobuf", framed(0, broken.length, broken)],
    ["gRPC-Web, a compressed frame without a compression", framed(1, broken.length, broken)],
    ["gRPC-Web, a frame that is cut", framed(0, 9, broken)],
  ])("by %s is the caller's fault too", async (_, body) => {
    const answer = await answered({ type: "application/grpc-web+proto", body });
    expect(answer).toContain(`grpc-status: ${Code.InvalidArgument}\r\n`);
    const details = /grpc-status-details-bin: (\S+)/.exec(answer)?.[1] ?? "";
    expect(Buffer.from(details, "base64").toString()).toContain("REQUEST_MALFORMED");
  });

  it("is counted and logged as a call with its code", async () => {
    const before = await callsOf("INVALID_ARGUMENT");
    await answered({ type: "application/proto", body: broken });
    expect(await callsOf("INVALID_ARGUMENT")).toBe(before + 1);
  });

  it("of 64 KiB that unfolds to 64 MiB is refused before it does", async () => {
    const headers = { "content-encoding": "gzip" };
    const body = gzipSync(new Uint8Array(64 * 1024 * 1024));
    const answer = await answered({ type: "application/json", headers, body });
    expect(answer).toContain('"code":"resource_exhausted"');
    expect(answer).toContain('"reason":"REQUEST_TOO_LARGE"');
  });

  it("in an unknown encoding is refused with those that are known", async () => {
    const headers = { "content-encoding": "zstd" };
    const answer = await answered({ type: "application/json", headers, body: Buffer.from("{}") });
    expect(answer).toContain('"code":"unimplemented"');
    expect(answer).toMatch(/gzip/);
  });

  it("holds a million empty elements and is refused in time", async () => {
    const body = Buffer.from(`{"labels":[${"{},".repeat(1_000_000)}{}]}`);
    expect(await answered({ type: "application/json", body })).toContain("invalid_argument");
  });
});

async function callsOf(code: string): Promise<number> {
  const text = await (await fetch(`http://${hub().address}/metrics`)).text();
  const method = LIST.slice(1).replaceAll(".", "\\.");
  const found = new RegExp(`calls_total\\{method="${method}",code="${code}"\\} (\\d+)`).exec(text);
  return Number(found?.[1] ?? 0);
}

describe("a refusal that shows what it refuses", () => {
  it("is sent whole by gRPC though the value is cut within a character", async () => {
    const client = createClient(
      ReleaseService,
      createGrpcTransport({ baseUrl: `http://${hub().address}` }),
    );
    const headers = { authorization: `Bearer ${hub().tokens.owner}` };
    const digest = `${"x".repeat(79)}\u{1f600}`;
    const refused = client.uploadArtefact({ digest, size: 9n }, { headers });
    await expect(refused).rejects.toMatchObject({ code: Code.InvalidArgument });
  });
});

describe("a refusal of gRPC that names a key as long as a body", () => {
  it("is answered, and so is what comes after it on the same connection", async () => {
    const session = connectHttp2(`http://${hub().address}`);
    const messageOf = (key: string) =>
      new Promise<string>((resolve, reject) => {
        const stream = session.request({
          ...{ ":method": "POST", ":path": LIST, te: "trailers" },
          "content-type": "application/grpc+json",
          authorization: `Bearer ${hub().tokens.owner}`,
        });
        const said = (found: Record<string, unknown>) => {
          const message = found["grpc-message"];
          if (message !== undefined) resolve(decodeURIComponent(String(message)));
        };
        stream.on("response", said).on("trailers", said).on("error", reject).resume();
        const body = Buffer.from(JSON.stringify({ [key]: 1 }));
        const head = Buffer.alloc(5);
        head.writeUInt32BE(body.length, 1);
        stream.end(Buffer.concat([head, body]));
      });
    const long = await messageOf("鍵".repeat(50_000));
    const short = await messageOf("key");
    session.close();
    expect(long).toContain("鍵鍵");
    expect(long.length).toBeLessThan(2_000);
    expect(short).toContain('"key"');
  });
});

describe("probes", () => {
  const get = async (path: string, accept = "*/*") => {
    const answer = await fetch(`http://${hub().address}${path}`, { headers: { accept } });
    return {
      status: answer.status,
      type: answer.headers.get("content-type"),
      text: await answer.text(),
    };
  };

  it("say that the hub lives and is ready", async () => {
    expect(await get("/healthz")).toMatchObject({ status: 200, text: "ok\n" });
    expect(await get("/readyz")).toMatchObject({ status: 200, text: "ready\n" });
  });

  it("speak grpc.health.v1 without a token", async () => {
    const client = createClient(
      Health,
      createGrpcTransport({ baseUrl: `http://${hub().address}` }),
    );
    const service = InstanceService.typeName;
    const { status } = await client.check({ service });
    expect(status).toBe(HealthCheckResponse_ServingStatus.SERVING);
    await expect(client.check({ service: "nope" })).rejects.toMatchObject({ code: Code.NotFound });
  });

  it("count calls in OpenMetrics, with labels from closed lists", async () => {
    await post(LIST);
    await post("/x/y?token=secret");
    const { type, text } = await get("/metrics", "application/openmetrics-text");
    expect(type).toContain("application/openmetrics-text");
    expect(text).toContain(
      'holdfast_hub_api_calls_total{method="holdfast.api.v1.InstanceService/ListInstances",code="OK"}',
    );
    expect(text.trimEnd()).toMatch(/# EOF$/);
    expect(text).not.toContain("secret");
  });
});
