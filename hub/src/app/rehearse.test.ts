/** Rehearsals on a real database: what is asked of the agent, that nothing of it stays, and what answers without one. */
import { create, fromBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema } from "@holdfast/proto/google/rpc/error_details_pb.js";
import { InstanceService } from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { SubscriptionService } from "@holdfast/proto/holdfast/api/v1/subscription_pb.js";
import { HelloSchema } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import {
  CandidateSchema,
  type Rehearsal,
  RehearsalSchema,
  StepClass,
} from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import type { Envelope } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { openEnvelope, rawPublicKeyOf, verificationKey } from "@holdfast/shared/dsse.ts";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { AgentSession, LinkHub } from "../link/port.ts";
import { useTestHub } from "../testing-hub.ts";
import { joinCell, offerProduct, vendorIdOf } from "../testing-product.ts";
import { linkHub } from "./link/link-hub.ts";
import { REHEARSALS_MAX } from "./rehearsals.ts";

const hub = useTestHub();
const link = (): LinkHub => linkHub(hub().parts.app);
const instances = (token = hub().tokens.owner) => hub().client(InstanceService, token);

const candidate = (name: string, change: object = {}) => ({
  instance: {
    metadata: { name, tenant: "acme" },
    spec: {
      ...{ product: "etl", release: "1.0.0", plan: "pro", subscription: "pro" },
      ...{ cell: "acme-cell", parameters: { source: "file.db" } },
      ...change,
    },
  },
});

async function reasonOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "OK";
  } catch (error) {
    const { code, rawMessage } = ConnectError.from(error);
    const reason = ConnectError.from(error).findDetails(ErrorInfoSchema)[0]?.reason;
    return `${Code[code]} ${reason}: ${rawMessage}`;
  }
}

let session: AgentSession;
/** What the agent was asked, in the order of the questions. */
let asked: { id: string; envelope: Envelope }[];
let detach: () => void;

/** An agent that answers at once with what `answer` gives. */
function answering(answer: () => Promise<Partial<Rehearsal>> | Partial<Rehearsal>): void {
  detach();
  detach = link().onRehearsal((cell, id, envelope) => {
    if (cell.cellId !== session.cellId) return false;
    asked.push({ id, envelope });
    void (async () => {
      const { $typeName: _, ...said } = await answer();
      await link().rehearsed(session, create(RehearsalSchema, { ...said, id }));
    })();
    return true;
  });
}

beforeAll(async () => {
  await offerProduct(hub());
  const subscriptions = hub().client(SubscriptionService, hub().tokens.owner);
  const metadata = { name: "pro", tenant: "acme" };
  await subscriptions.createSubscription({ subscription: { metadata, spec: { plan: "pro" } } });
  await instances().createInstance(candidate("there"));
  const { principal } = await joinCell(hub(), "acme-cell");
  const hello = create(HelloSchema, { fencing: principal.fencing, agentVersion: "test" });
  session = await link().admit(principal, hello);
});
beforeEach(() => {
  asked = [];
  detach = () => undefined;
});
afterEach(() => detach());

const step = {
  ...{ id: "worker/start", resource: "worker", verb: "start", stepClass: StepClass.REVERSIBLE },
  summary: "start worker of 1.0.0",
  ...{ undo: "stop the new worker", afterCommit: false },
};

describe("a rehearsal", () => {
  it("answers with what the agent would do, and leaves nothing", async () => {
    const held = await link().differing(session, [], 64);
    answering(() => ({
      steps: [{ ...step, $typeName: "holdfast.model.v1.PlannedStep" }],
      holds: ["1.2: hours: only at night"],
      missing: ["artefact worker: 10 bytes of sha256:aa"],
      stepsDigest: "sha256:bb",
      notAtomic: ["db: migrate; there is no way back after it"],
    }));
    const answer = await instances().rehearseInstance(candidate("absent"));
    expect(answer).toMatchObject({ isNew: true, cell: "acme-cell", steps: [step] });
    expect(answer).toMatchObject({
      stepsDigest: "sha256:bb",
      notAtomic: ["db: migrate; there is no way back after it"],
    });
    expect(answer.holds).toEqual(["1.2: hours: only at night"]);
    expect(answer.missing).toEqual(["artefact worker: 10 bytes of sha256:aa"]);
    expect(await reasonOf(instances().getInstance({ instance: "absent" }))).toMatch(/^NotFound/);
    expect(await link().differing(session, [], 64)).toEqual(held);
  });

  it("is signed as a candidate, which opens as nothing else", async () => {
    answering(() => ({}));
    const parameters = { source: "other.db" };
    const answer = await instances().rehearseInstance(candidate("there", { parameters }));
    expect(answer).toMatchObject({ isNew: false, steps: [] });
    const { assignmentKey } = hub().parts.app.keysOf(vendorIdOf(hub()));
    const keys = [verificationKey(rawPublicKeyOf(assignmentKey.privateKey))];
    const envelope = asked[0]?.envelope;
    expect(() => openEnvelope("assignment", envelope, keys)).toThrow();
    const { payload } = openEnvelope("rehearsal", envelope, keys);
    const { assignment, expireTime } = fromBinary(CandidateSchema, payload);
    expect(assignment).toMatchObject({ releaseVersion: "1.0.0", instanceName: "there" });
    expect(assignment?.parameters).toMatchObject(parameters);
    expect(Number(expireTime?.seconds) * 1_000).toBeLessThanOrEqual(Date.now() + 25_000);
    const { instance } = await instances().getInstance({ instance: "there" });
    expect(instance?.spec?.parameters).toEqual({ source: "file.db" });
    expect(instance?.metadata?.generation).toBe(1n);
  });

  it("lets its agent fetch the release as long as it is asked, and no longer", async () => {
    await instances().createInstance(candidate("gone"));
    await instances().deleteInstance({ instance: "gone" });
    const digests: string[] = [];
    answering(async () => {
      const { assignmentKey } = hub().parts.app.keysOf(vendorIdOf(hub()));
      const keys = [verificationKey(rawPublicKeyOf(assignmentKey.privateKey))];
      const { payload } = openEnvelope("rehearsal", asked.at(-1)?.envelope, keys);
      const digest = fromBinary(CandidateSchema, payload).assignment?.releaseDigest ?? "";
      digests.push(digest);
      return { missing: [`${(await link().release(session, digest)).payload.length > 0}`] };
    });
    const answer = await instances().rehearseInstance(candidate("there", { release: "1.1.0" }));
    expect(answer.missing).toEqual(["true"]);
    await expect(link().release(session, digests[0] ?? "")).rejects.toMatchObject({
      code: "NOT_FOUND",
    });
  });

  it("says what the change would: a bad one never reaches the agent", async () => {
    answering(() => ({}));
    const refusal = await reasonOf(
      instances().rehearseInstance(candidate("there", { release: "9.9.9" })),
    );
    expect(refusal).toMatch(/^NotFound/);
    expect(asked).toEqual([]);
  });

  it("that the agent cannot do says why, without control characters", async () => {
    answering(() => ({ reason: "PAYLOAD_SIZE", message: "too \u001b[31mlarge" }));
    expect(await reasonOf(instances().rehearseInstance(candidate("there")))).toBe(
      "FailedPrecondition REHEARSAL_REFUSED: the agent says PAYLOAD_SIZE: too \\u001b[31mlarge",
    );
  });

  it("needs an agent that is connected, and says what to look at", async () => {
    expect(await reasonOf(instances().rehearseInstance(candidate("there")))).toMatch(
      /^Unavailable AGENT_ELSEWHERE: cell acme-cell/,
    );
    await link().left(session);
    expect(await reasonOf(instances().rehearseInstance(candidate("there")))).toMatch(
      /^Unavailable AGENT_OFFLINE: cell acme-cell: its agent is not connected since /,
    );
  });

  it("is refused when too many wait, and answers nobody who did not ask", async () => {
    const { rehearsals } = hub().parts.app;
    const stop = new AbortController();
    detach = rehearsals.attach(() => true);
    const cell = { vendorId: session.vendorId, cellId: session.cellId };
    const envelope = { payloadType: "", payload: new Uint8Array(), signatures: [] };
    const question = (id: string) => ({
      ...{ id, cell, releaseDigest: "" },
      candidate: envelope as unknown as Envelope,
    });
    const waiting = Array.from({ length: REHEARSALS_MAX }, (_, n) =>
      rehearsals.ask(question(String(n)), stop.signal),
    );
    expect(await reasonOf(instances().rehearseInstance(candidate("there")))).toMatch(
      /^ResourceExhausted REHEARSALS_TOO_MANY/,
    );
    const foreign = { ...session, cellId: "01980000-0000-7000-8000-00000000dead" };
    const answer = create(RehearsalSchema, { id: "0" });
    await expect(link().rehearsed(foreign, answer)).rejects.toMatchObject({ reason: "UNASKED" });
    await link().rehearsed(session, answer);
    expect(await waiting[0]).toEqual(answer);
    stop.abort();
    const rest = await Promise.allSettled(waiting.slice(1));
    expect(rest.every(({ status }) => status === "rejected")).toBe(true);
  });

  it("is for members who may change things, of the tenant whose instance it is", async () => {
    const { acmeViewer, globexOwner } = hub().tokens;
    const viewer = await reasonOf(instances(acmeViewer).rehearseInstance(candidate("there")));
    expect(viewer).toMatch(/^PermissionDenied PERMISSION_MISSING: instance.rehearse/);
    const stranger = await reasonOf(instances(globexOwner).rehearseInstance(candidate("there")));
    expect(stranger).toMatch(/^NotFound NOT_FOUND/);
  });
});
