/**
 * The agents' two listeners under frames made from the contracts and a seed, by a peer with a good certificate and
 * by one without: each call gets a status that tells nothing of the inside, a healthy agent goes on beside it.
 */
import { type ClientHttp2Session, constants } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, type DescMethod, toBinary } from "@bufbuild/protobuf";
import { IdentityService } from "@holdfast/proto/holdfast/link/v1/identity_pb.js";
import {
  ControlRequestSchema,
  LinkService,
  ReportRequestSchema,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ClientIdentity } from "../../agent/src/link/hub-client.ts";
import { useTestHub } from "../../hub/src/testing-hub.ts";
import { clientTo, rawControl } from "../link/raw.ts";
import { eventually } from "../link/world.ts";
import { type AgentListeners, agentOf, rawSession, startListeners } from "./agent-peer.ts";
import { bytesOf, damagedBytes } from "./fuzz/binary.ts";
import { framed } from "./fuzz/calls.ts";
import { below, INPUTS, pick, randomBytes, SEED, seeded } from "./fuzz/chance.ts";
import type { Shape } from "./fuzz/json.ts";

const ANSWER_MS_MAX = 30_000;
const AT_ONCE = 16;
const hub = useTestHub();
let listeners: AgentListeners;
let hostile: ClientIdentity;

beforeAll(async () => {
  listeners = await startListeners(hub());
  hostile = await agentOf(hub(), "acme-cell");
}, 60_000);
afterAll(() => listeners?.stop());

const METHODS = [...LinkService.methods, ...IdentityService.methods].flatMap((method: DescMethod) =>
  [true, false].map((isKnown) => ({
    it: `${method.parent.typeName}/${method.name}`,
    who: isKnown ? "a peer with a certificate" : "a peer without one",
    method,
    isKnown,
  })),
);

const hello = { minProtocol: 1, maxProtocol: 1, fencing: 1n };
/** What the streams begin with, so that inputs reach what comes after it. */
const FIRST: Readonly<Record<string, Uint8Array>> = {
  Control: toBinary(
    ControlRequestSchema,
    create(ControlRequestSchema, { message: { case: "hello", value: hello } }),
  ),
  Report: toBinary(
    ReportRequestSchema,
    create(ReportRequestSchema, { message: { case: "open", value: {} } }),
  ),
};

function bodyOf({ name, input }: DescMethod, shape: Shape): Buffer {
  const { random } = shape;
  const first = FIRST[name];
  const frames = Array.from({ length: 1 + below(random, 4) }, () => {
    const bytes = bytesOf(input, shape);
    const message = random() < 0.3 ? damagedBytes(bytes, random) : bytes;
    if (random() < 0.9) return framed(0, message);
    return pick(random, [
      () => framed(1, message),
      () => framed(255, message),
      () => framed(0, message, message.length + 9),
      () => framed(0, message, 0xffff_ffff),
      () => Buffer.from(randomBytes(random, 40)),
    ])();
  });
  return Buffer.concat(
    first !== undefined && random() < 0.8 ? [framed(0, first), ...frames] : frames,
  );
}

type Ended = Readonly<{ status: string; reason: string; said: string }>;

function call(session: ClientHttp2Session, path: string, body: Buffer): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      te: "trailers",
      "content-type": "application/grpc",
    });
    let last: Record<string, unknown> = {};
    stream.setTimeout(ANSWER_MS_MAX, () => {
      reject(new Error(`no answer within ${ANSWER_MS_MAX} ms`));
      stream.close(constants.NGHTTP2_CANCEL);
    });
    stream.on("response", (headers) => {
      last = { ...last, ...headers };
    });
    stream.on("trailers", (trailers) => {
      last = { ...last, ...trailers };
    });
    stream.on("data", () => undefined);
    stream.on("error", reject);
    stream.on("close", () => {
      const status = String(last["grpc-status"] ?? `HTTP ${last[":status"]} without a status`);
      const said = decodeURIComponent(String(last["grpc-message"] ?? ""));
      resolve({ status, reason: String(last["holdfast-reason"] ?? ""), said });
    });
    stream.end(body);
  });
}

/** 13 is INTERNAL: gRPC's own code for bytes that are no message and for what cannot be unpacked. */
const OWN_OF_GRPC = [
  /^13 Error deserializing request$/,
  /^13 Failed to decompress message$/,
  /^8 Received message larger than max/,
  /^12 Received (no|a second) request message/,
  /^0 (OK)?$/,
  /^1 /,
];
const INSIDE = [
  join(import.meta.dirname, "../.."),
  join(tmpdir(), "hf-"),
  "node_modules",
  "    at ",
];

function problemOf({ status, reason, said }: Ended): string | undefined {
  const told = INSIDE.find((each) => said.includes(each));
  if (told !== undefined) return `tells ${told}: ${said}`;
  if (OWN_OF_GRPC.some((own) => own.test(`${status} ${said}`))) return undefined;
  const isTyped = /^\d+$/.test(status) && !["2", "13", "15"].includes(status) && reason !== "";
  return isTyped ? undefined : `${status} ${reason} ${said}`;
}

async function tryAll(method: DescMethod, isKnown: boolean): Promise<readonly string[]> {
  const random = seeded(SEED, `link ${isKnown} ${method.parent.typeName}/${method.name}`);
  const known = ["acme-cell", "01980000-0000-7000-8000-0000000000aa", `sha256:${"0".repeat(64)}`];
  const isIdentity = method.parent.typeName === IdentityService.typeName;
  const port = isIdentity ? listeners.identity.port : listeners.link.port;
  const identity = isKnown ? hostile : { roots: hostile.roots };
  const path = `/${method.parent.typeName}/${method.name}`;
  const bodies = Array.from({ length: INPUTS }, () =>
    bodyOf(method, { random, known, hostile: random() < 0.5 ? 0.1 : 0.5 }),
  );
  const problems: string[] = [];
  const work = bodies.values();
  const one = async () => {
    let session = await rawSession(port, identity);
    for (const body of work) {
      if (session.destroyed || session.closed) session = await rawSession(port, identity);
      const problem = await call(session, path, body).then(
        problemOf,
        (error: Error) => error.message,
      );
      if (problem !== undefined)
        problems.push(`${problem} <- ${body.toString("base64").slice(0, 300)}`);
    }
    session.destroy();
  };
  // A newer stream of an agent replaces the older, which would end most inputs before they are read.
  const atOnce = method.methodKind === "bidi_streaming" ? 1 : AT_ONCE;
  await Promise.all(Array.from({ length: atOnce }, one));
  return problems;
}

describe(`every RPC of the link, of ${INPUTS} inputs from seed ${SEED},`, () => {
  const onLink = ({ method, isKnown }: (typeof METHODS)[number]) =>
    isKnown || method.parent.typeName === IdentityService.typeName;
  it.each(METHODS.filter(onLink))("$it answers each of $who", async ({ method, isKnown }) => {
    expect(await tryAll(method, isKnown)).toEqual([]);
  });

  it("and lets no peer without a certificate begin one", async () => {
    const session = rawSession(listeners.link.port, { roots: hostile.roots });
    const ended = session.then((each) =>
      call(each, "/holdfast.link.v1.LinkService/Control", framed(0, new Uint8Array())),
    );
    await expect(ended).rejects.toThrow();
  });

  it("and welcomes the next agent of the cell beside it", async () => {
    const identity = await agentOf(hub(), "globex-cell");
    const control = rawControl(clientTo(listeners.link.port, identity));
    control.call.write(create(ControlRequestSchema, { message: { case: "hello", value: hello } }));
    await eventually("a welcome", () => control.responses.length > 0);
    expect(control.responses[0]?.message.case).toBe("welcome");
    control.call.end();
    expect(await control.ended).toBe("OK");
  });
});
