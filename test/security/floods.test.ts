/**
 * Floods on the API's port and on the agents': connections that say nothing, pings, streams that are reset at once,
 * headers that never end, and more good requests than anybody needs. Meanwhile an agent keeps its session and a caller of the API is answered.
 * HOLDFAST_FLOOD_MS says how long each lasts.
 */
import { execFile } from "node:child_process";
import { type ClientHttp2Session, constants } from "node:http2";
import { connect, type Socket } from "node:net";
import { env } from "node:process";
import type { Duplex } from "node:stream";
import { setImmediate as turn } from "node:timers/promises";
import { promisify } from "node:util";
import { create } from "@bufbuild/protobuf";
import { CellService } from "@holdfast/proto/holdfast/api/v1/cell_pb.js";
import {
  type ControlRequest,
  ControlRequestSchema,
  type ControlResponse,
  FetchReleaseRequestSchema,
  LinkService,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import type { Fault } from "@holdfast/shared/fault.ts";
import { grpcService } from "@holdfast/shared/grpc-service.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type ClientIdentity,
  callUnary,
  type HubClient,
  hubClient,
} from "../../agent/src/link/hub-client.ts";
import { UNWATCHED } from "../../hub/src/link/watch.ts";
import { useTestHub } from "../../hub/src/testing-hub.ts";
import { type RawCall, rawControl } from "../link/raw.ts";
import { eventually } from "../link/world.ts";
import {
  type AgentListeners,
  agentOf,
  rawSession,
  rawSocket,
  startListeners,
} from "./agent-peer.ts";
import { http2To } from "./fuzz/answers.ts";
import { endingOf, GREETING, pings, rapidResets } from "./raw-frames.ts";

const FLOOD_MS = Number(env["HOLDFAST_FLOOD_MS"] ?? 1_500);
/** Answers to the caller and to the agent that each flood must let through at least. */
const ANSWERS_MIN = 10;
const CONNECTIONS = 300;
/** Streams or pings between two turns of the others in this process. */
const BURST = 50;

const hub = useTestHub();
let listeners: AgentListeners;
let hostile: ClientIdentity;
let agent: HubClient;
let control: RawCall<ControlRequest, ControlResponse>;
let ended = "not yet";
const sockets: Socket[] = [];
/** Connections that the agents' ports have ended for a flood. */
const calmed: string[] = [];

beforeAll(async () => {
  listeners = await startListeners(hub(), {
    ...UNWATCHED,
    calmed: (listener, excess) => calmed.push(`${listener} ${excess}`),
  });
  hostile = await agentOf(hub(), "acme-cell");
  agent = hubClient(`localhost:${listeners.link.port}`, await agentOf(hub(), "globex-cell"));
  const own = rawControl(agent);
  const value = { minProtocol: 1, maxProtocol: 1, fencing: 1n };
  own.call.write(create(ControlRequestSchema, { message: { case: "hello", value } }));
  await eventually("a welcome", () => own.responses.length > 0);
  void own.ended.then((how) => {
    ended = how;
  });
  control = own;
}, 60_000);

afterAll(async () => {
  control?.call.cancel();
  agent?.close();
  for (const socket of sockets) socket.destroy();
  await listeners?.stop();
});

const apiPort = () => Number(hub().address.split(":")[1]);

/** The caller and the agent each ask something and are answered. */
async function askBoth(): Promise<void> {
  const { cells } = await hub().client(CellService, hub().tokens.owner).listCells({});
  expect(cells.length).toBeGreaterThan(0);
  const releaseDigest = `sha256:${"0".repeat(64)}`;
  const request = create(FetchReleaseRequestSchema, { releaseDigest });
  const { fetchRelease } = grpcService(LinkService);
  const refused = await callUnary(agent, fetchRelease, request, { deadlineMs: 30_000 }).catch(
    (error: Fault) => error.code ?? String(error),
  );
  expect(refused).toBe("NOT_FOUND");
}

/** Keeps the flood up while both are asked, and looks that neither was thrown out. */
async function through(flood: (stop: AbortSignal) => Promise<void>): Promise<void> {
  const stop = new AbortController();
  const flooding = flood(stop.signal);
  const until = performance.now() + FLOOD_MS;
  for (let answers = 0; answers < ANSWERS_MIN || performance.now() < until; answers++) {
    await askBoth();
  }
  stop.abort();
  await flooding;
  expect(ended).toBe("not yet");
  expect(listeners.link.connected).toBe(1);
}

/** Sockets of a peer that says no more than `text`. */
async function silent(port: number, count: number, text = ""): Promise<readonly Socket[]> {
  const opened = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<Socket>((resolve) => {
          const socket = connect(port, "127.0.0.1", () => {
            if (text !== "") socket.write(text);
            resolve(socket);
          });
          socket.on("error", () => resolve(socket));
          socket.resume();
        }),
    ),
  );
  sockets.push(...opened);
  return opened;
}

type Open = () => Promise<ClientHttp2Session>;

/** Again and again on one connection, and on a new one where that was ended. */
async function repeat(open: Open, stop: AbortSignal, act: (on: ClientHttp2Session) => void) {
  while (!stop.aborted) {
    const session = await open().catch(() => undefined);
    await turn();
    if (session === undefined) continue;
    session.on("error", () => undefined);
    while (!stop.aborted && !session.destroyed && !session.closed) {
      for (let n = 0; n < BURST && !session.destroyed && !session.closed; n++) act(session);
      await turn();
    }
    session.destroy();
  }
}

/** Frames of calls that are taken back, again and again, over a new connection where one was ended; says how many were. */
async function resetStreams(open: () => Duplex, stop: AbortSignal): Promise<number> {
  let endings = 0;
  while (!stop.aborted) {
    const connection = open();
    connection.on("error", () => undefined).resume();
    connection.write(GREETING);
    for (let from = 0; !stop.aborted && !connection.closed; from += BURST) {
      connection.write(rapidResets(BURST, from));
      await turn();
    }
    if (connection.closed) endings += 1;
    connection.destroy();
  }
  return endings;
}

function ping(session: ClientHttp2Session): void {
  session.ping(() => undefined);
}

const PORTS: readonly { port: string; open: Open }[] = [
  { port: "the API's", open: () => http2To(hub().address) },
  { port: "the agents'", open: () => rawSession(listeners.link.port, hostile) },
];

const RAW: readonly { port: string; connect: () => Duplex }[] = [
  { port: "the API's", connect: () => connect(apiPort(), "127.0.0.1") },
  { port: "the agents'", connect: () => rawSocket(listeners.link.port, hostile) },
  { port: "the identity", connect: () => rawSocket(listeners.identity.port, hostile) },
];

describe("neither agent nor caller is thrown out by a flood of", () => {
  it.each([
    { port: "the API's", to: apiPort },
    { port: "the agents'", to: () => listeners.link.port },
  ])("connections without a word on $port port", async ({ to }) => {
    await through(async () => {
      await silent(to(), CONNECTIONS);
    });
  });

  it.each(RAW)(
    "streams that are reset at once on $port port, and who does it is",
    async ({ connect: open }) => {
      const endings: number[] = [];
      await through(async (stop) => {
        endings.push(await resetStreams(open, stop));
      });
      expect(endings[0]).toBeGreaterThan(0);
    },
  );

  it.each(PORTS)("pings on $port port", async ({ open }) => {
    await through(async (stop) => {
      await repeat(open, stop, ping);
    });
  });

  it(
    "headers that never end, and who sends them is cut off",
    async () => {
      const head = "POST /x HTTP/1.1\r\nHost: hub\r\nX-Slow: ";
      const slow: Socket[] = [];
      await through(async () => {
        slow.push(...(await silent(apiPort(), CONNECTIONS / 3, head)));
        slow.push(...(await silent(listeners.link.port, CONNECTIONS / 3)));
      });
      const open = () => slow.filter(({ closed }) => !closed).length;
      await expect.poll(open, { timeout: 50_000, interval: 250 }).toBe(0);
      await askBoth();
    },
    FLOOD_MS + 90_000,
  );
});

describe.each(RAW)("a connection to $port port", ({ connect: open }) => {
  it.each([
    { it: "1000 streams reset in one write", flood: rapidResets(1_000), why: "too_many_resets" },
    { it: "900 pings in one write", flood: pings(900), why: "too_many_pings" },
  ])("is asked to be calm after $it, and others are not", async ({ flood, why }) => {
    const connection = open();
    const ending = endingOf(connection);
    connection.write(Buffer.concat([GREETING, flood]));
    expect(await ending).toEqual({ code: constants.NGHTTP2_ENHANCE_YOUR_CALM, why });
    await askBoth();
    expect(ended).toBe("not yet");
  });

  it("may reset and ping as a busy client does", async () => {
    const connection = open();
    const ending = endingOf(connection);
    connection.write(Buffer.concat([GREETING, rapidResets(90), pings(15)]));
    await askBoth();
    await askBoth();
    expect(connection.closed).toBe(false);
    connection.destroy();
    expect(await ending).toBeUndefined();
  });
});

it("is counted by port and by what was too much", () => {
  const kinds = ["identity", "link"].flatMap((port) => [`${port} pings`, `${port} resets`]);
  expect([...new Set(calmed)].toSorted()).toEqual(kinds);
});

/** Undefined where it is not installed; CONTRIBUTING.md says so, and CI installs it. */
async function h2load(...args: readonly string[]): Promise<string | undefined> {
  try {
    return (await promisify(execFile)("h2load", args)).stdout;
  } catch (error) {
    expect(error).toMatchObject({ code: "ENOENT" });
    expect(env["CI"]).toBeUndefined();
    return undefined;
  }
}

it(
  "a flood of good requests is answered, each of them, and so are agent and caller",
  async () => {
    let said: string | undefined;
    await through(async () => {
      const url = `http://${hub().address}/healthz`;
      said = await h2load("-n", "20000", "-c", "50", "-m", "32", url);
    });
    if (said !== undefined)
      expect(said).toContain("20000 succeeded, 0 failed, 0 errored, 0 timeout");
  },
  FLOOD_MS + 60_000,
);
