/** Who may ask what steps said, that asking is an event before the agent hears of it, and what is told without an answer. */
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema } from "@holdfast/proto/google/rpc/error_details_pb.js";
import { EventOrder, EventService } from "@holdfast/proto/holdfast/api/v1/event_pb.js";
import {
  InstanceService,
  type WatchOutputResponse,
} from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { SubscriptionService } from "@holdfast/proto/holdfast/api/v1/subscription_pb.js";
import {
  HelloSchema,
  OutputAnswerSchema,
  OutputPartSchema,
  type ShowOutput,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import type { AgentSession, LinkHub, OutputTaker } from "../link/port.ts";
import { useTestHub } from "../testing-hub.ts";
import { joinCell, offerProduct } from "../testing-product.ts";
import { linkHub } from "./link/link-hub.ts";

const hub = useTestHub();
const link = (): LinkHub => linkHub(hub().parts.app);
const instances = (token = hub().tokens.owner) => hub().client(InstanceService, token);

let session: AgentSession;
let detach: () => void = () => undefined;

beforeAll(async () => {
  await offerProduct(hub());
  const subscriptions = hub().client(SubscriptionService, hub().tokens.owner);
  const metadata = { name: "pro", tenant: "acme" };
  await subscriptions.createSubscription({ subscription: { metadata, spec: { plan: "pro" } } });
  const spec = {
    ...{ product: "etl", release: "1.0.0", plan: "pro", subscription: "pro" },
    ...{ cell: "acme-cell", parameters: { source: "file.db" } },
  };
  await instances().createInstance({
    instance: { metadata: { name: "there", tenant: "acme" }, spec },
  });
  const { principal } = await joinCell(hub(), "acme-cell");
  const hello = create(HelloSchema, { fencing: principal.fencing, agentVersion: "test" });
  session = await link().admit(principal, hello);
});
afterEach(() => detach());

/** An agent that does this with each question. */
function answering(tell: (show: ShowOutput) => Promise<void>): readonly ShowOutput[] {
  const asked: ShowOutput[] = [];
  detach = link().onShowOutput((cell, show) => {
    if (cell.cellId !== session.cellId) return false;
    asked.push(show);
    void tell(show);
    return true;
  });
  return asked;
}

function take(
  { id }: ShowOutput,
  refusal: { reason?: string; message?: string } = {},
): OutputTaker {
  return link().outputTold(session, create(OutputAnswerSchema, { id, ...refusal }));
}

const part = (text: string, more = {}) =>
  create(OutputPartSchema, {
    ...{ attempt: 3n, position: `3.${text.length}`, lines: [{ step: "m/run", text }] },
    ...more,
  });

async function told(answers: AsyncIterable<WatchOutputResponse>): Promise<WatchOutputResponse[]> {
  const all: WatchOutputResponse[] = [];
  for await (const answer of answers) all.push(answer);
  return all;
}

async function reasonOf(answers: AsyncIterable<WatchOutputResponse>): Promise<string> {
  try {
    await told(answers);
    return "OK";
  } catch (error) {
    const { code, rawMessage } = ConnectError.from(error);
    const reason = ConnectError.from(error).findDetails(ErrorInfoSchema)[0]?.reason;
    return `${Code[code]} ${reason}: ${rawMessage}`;
  }
}

/** Of the question about this step, once the sequencer has placed it. */
async function eventOf(step: string) {
  const events = hub().client(EventService, hub().tokens.owner);
  for (;;) {
    const order = EventOrder.NEWEST_FIRST;
    const answer = await events.listEvents({ tenant: "acme", order, pageSize: 20 });
    const found = answer.events.find(({ after }) => after?.["step"] === step);
    if (found !== undefined) return found;
  }
}

/** Of 16 kB each: a kernel may keep 33 MB and more of what one connection has not read. */
const TAKEN_MAX = 10_000;

describe("output of steps", () => {
  it("is asked of the agent in the caller's name, told part by part, and gone on with by its token", async () => {
    const asked = answering(async (show) => {
      const taker = take(show);
      await taker.take(part("first\u001b[31m", { lost: 2n }));
      await taker.take(part("second", { ended: true, last: true }));
      taker.ended();
    });
    const request = { instance: "there", tenant: "acme", attempt: 3n, step: "m", follow: true };
    const answers = await told(instances().watchOutput(request));
    expect(answers.flatMap(({ lines }) => lines.map(({ text }) => text))).toEqual([
      "first\\u001b[31m",
      "second",
    ]);
    expect(answers.map(({ lost, ended }) => [lost, ended])).toEqual([
      [2n, false],
      [0n, true],
    ]);
    expect(asked[0]).toMatchObject({ attempt: 3n, step: "m", follow: true, position: "" });
    expect(asked[0]?.principal).toBe("member/owner");
    const { pageToken = "" } = answers[0] ?? {};
    await told(instances().watchOutput({ ...request, pageToken }));
    expect(asked[1]?.position).toBe(`3.${"first\u001b[31m".length}`);
    const other = instances().watchOutput({ ...request, step: "other", pageToken });
    expect(await reasonOf(other)).toMatch(/^InvalidArgument PAGE_TOKEN_INVALID/);
  });

  it("is an event before the agent hears of it, also where there is no answer", async () => {
    answering(async (show) => {
      const { type, principal, permission } = await eventOf("x");
      const message = `${type} by ${principal} with ${permission}`;
      take(show, { reason: "STEP_UNKNOWN", message });
    });
    const { tokens } = hub();
    const asking = instances(tokens.acmeViewer).watchOutput({ instance: "there", step: "x" });
    expect(await reasonOf(asking)).toBe(
      "NotFound STEP_UNKNOWN: the agent says: instance.output_asked by member/acme/auditor with output.query",
    );
    const { after, reason } = await eventOf("x");
    expect(after).toMatchObject({ attempt: "0", follow: false });
    expect(reason).toBe("newest attempt, x");
  });

  it("is another tenant's as if it did not exist, and nobody is asked", async () => {
    const asked = answering(async (show) => void take(show, { reason: "X" }));
    const { globexOwner } = hub().tokens;
    const theirs = await reasonOf(instances(globexOwner).watchOutput({ instance: "there" }));
    const absent = await reasonOf(instances(globexOwner).watchOutput({ instance: "absent" }));
    expect(theirs).toBe(absent.replace("absent", "there"));
    expect(theirs).toMatch(/^NotFound NOT_FOUND/);
    expect(asked).toEqual([]);
  });

  it.each([
    ["OUTPUT_STAYS_HERE", /^PermissionDenied OUTPUT_STAYS_HERE: the agent says: \\u001bno/],
    ["ATTEMPT_UNKNOWN", /^NotFound ATTEMPT_UNKNOWN/],
    ["__proto__", /^FailedPrecondition OUTPUT_REFUSED: the agent says: /],
  ])("that the agent refuses with %s is refused so", async (reason, expected) => {
    answering(async (show) => void take(show, { reason, message: "\u001bno" }));
    expect(await reasonOf(instances().watchOutput({ instance: "there" }))).toMatch(expected);
  });

  it("of an agent that is away, or goes in the middle, says so and since when", async () => {
    const away = /^Unavailable AGENT_(OFFLINE|ELSEWHERE): cell acme-cell: its agent is/;
    expect(await reasonOf(instances().watchOutput({ instance: "there" }))).toMatch(away);
    answering(async (show) => {
      const taker = take(show);
      await taker.take(part("first"));
      taker.ended();
    });
    const answers: WatchOutputResponse[] = [];
    const cut = (async function* () {
      for await (const answer of instances().watchOutput({ instance: "there" })) {
        answers.push(answer);
        yield answer;
      }
    })();
    expect(await reasonOf(cut)).toMatch(away);
    expect(answers).toHaveLength(1);
  });

  it("ends at the agent when its viewer goes", async () => {
    let left: AbortSignal | undefined;
    answering(async (show) => {
      const taker = take(show);
      left = taker.left;
      await taker.take(part("first"));
    });
    const viewer = new AbortController();
    const request = { instance: "there", follow: true };
    await expect(
      (async () => {
        for await (const _ of instances().watchOutput(request, { signal: viewer.signal })) {
          viewer.abort();
        }
      })(),
    ).rejects.toMatchObject({ code: Code.Canceled });
    await new Promise<void>((resolve) => {
      if (left?.aborted === true) resolve();
      else left?.addEventListener("abort", () => resolve(), { once: true });
    });
    expect(left?.aborted).toBe(true);
  });

  it("is asked of the agent no faster than its viewer reads, however much there is", async () => {
    let taken = 0;
    answering(async (show) => {
      const taker = take(show);
      for (; !taker.left.aborted; taken++) await taker.take(part("y".repeat(16_000)));
    });
    const viewer = new AbortController();
    const request = { instance: "there", follow: true };
    const answers = instances().watchOutput(request, { signal: viewer.signal });
    const reading = answers[Symbol.asyncIterator]();
    expect((await reading.next()).value?.lines).toHaveLength(1);
    let before = -1;
    // Others are served meanwhile; what comes is at a standstill once the connection is full.
    for (let calls = 0; calls < 50 || before !== taken; calls++) {
      before = taken;
      await instances().getInstance({ instance: "there" });
      expect(taken).toBeLessThan(TAKEN_MAX);
    }
    viewer.abort();
    // After what was on its way already.
    const toTheEnd = async () => {
      for (let isOver = false; !isOver; ) isOver = (await reading.next()).done === true;
    };
    await expect(toTheEnd()).rejects.toMatchObject({ code: Code.Canceled });
  });
});
