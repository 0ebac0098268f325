/** From a signed release to an instance that is gone: the use cases of API and link together, on a real database. */
import { create, fromBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema } from "@holdfast/proto/google/rpc/error_details_pb.js";
import { EventService } from "@holdfast/proto/holdfast/api/v1/event_pb.js";
import { HubService } from "@holdfast/proto/holdfast/api/v1/hub_pb.js";
import { InstanceService } from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { ReleaseService } from "@holdfast/proto/holdfast/api/v1/release_pb.js";
import { SeatService } from "@holdfast/proto/holdfast/api/v1/seat_pb.js";
import { SubscriptionService } from "@holdfast/proto/holdfast/api/v1/subscription_pb.js";
import {
  ControlResponseSchema,
  type Held,
  HeldSchema,
  HelloSchema,
  type Offer,
  StatusReportSchema,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import {
  type Assignment,
  AssignmentSchema,
  EntitlementSchema,
} from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { ConditionStatus } from "@holdfast/proto/holdfast/model/v1/condition_pb.js";
import { digestOf } from "@holdfast/shared/digest.ts";
import {
  openEnvelope,
  rawPublicKeyOf,
  signingKey,
  verificationKey,
} from "@holdfast/shared/dsse.ts";
import { beforeAll, describe, expect, it } from "vitest";
import type { AgentSession, LinkHub } from "../link/port.ts";
import { useTestHub } from "../testing-hub.ts";
import {
  enrolment,
  joinCell,
  keySet,
  offerProduct,
  RELEASE_KEY,
  signedRelease,
  tokenFor,
  vendorIdOf,
} from "../testing-product.ts";
import { identityHub } from "./link/identity.ts";
import { linkHub } from "./link/link-hub.ts";

const hub = useTestHub();
beforeAll(() => offerProduct(hub()));

async function reasonOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
  } catch (error) {
    if (error instanceof ConnectError) {
      return `${Code[error.code]} ${error.findDetails(ErrorInfoSchema)[0]?.reason}: ${error.rawMessage}`;
    }
    const { code, reason, message } = error as { code: string; reason: string; message: string };
    return `${code} ${reason}: ${message}`;
  }
  return "OK";
}

const link = (): LinkHub => linkHub(hub().parts.app);
const instances = (token = hub().tokens.owner) => hub().client(InstanceService, token);
const subscriptions = () => hub().client(SubscriptionService, hub().tokens.owner);

const dedicated = (name: string, change: object = {}) => ({
  instance: {
    metadata: { name, tenant: "acme" },
    spec: {
      product: "etl",
      release: "1.0.0",
      plan: "pro",
      subscription: "pro",
      cell: "acme-cell",
      parameters: { source: "file.db" },
      ...change,
    },
  },
});

async function subscribe(tenant: string, plan: string): Promise<void> {
  const subscription = { metadata: { name: plan, tenant }, spec: { plan } };
  await subscriptions().updateSubscription({ subscription, allowMissing: true });
}

async function connect(cell: string): Promise<AgentSession> {
  const { principal } = await joinCell(hub(), cell);
  const hello = create(HelloSchema, { fencing: principal.fencing, agentVersion: "test" });
  return link().admit(principal, hello);
}

async function offersTo(session: AgentSession, held: readonly Held[] = []) {
  const { frames } = await link().differing(session, held, 64);
  return frames.map(({ bytes }) => fromBinary(ControlResponseSchema, bytes).message.value as Offer);
}

function opened(offer: Offer | undefined): Assignment {
  const { assignmentKey } = hub().parts.app.keysOf(vendorIdOf(hub()));
  const key = verificationKey(rawPublicKeyOf(assignmentKey.privateKey));
  return fromBinary(AssignmentSchema, openEnvelope("assignment", offer?.assignment, [key]).payload);
}

const seatsIn = (offer: Offer | undefined) =>
  fromBinary(EntitlementSchema, offer?.entitlement?.payload ?? new Uint8Array()).seats;

function heldOf(offer: Offer, removed = false): Held {
  const assignment = opened(offer);
  return create(HeldSchema, {
    instanceId: offer.instanceId,
    generation: assignment.generation ?? {},
    assignmentDigest: digestOf(offer.assignment?.payload ?? new Uint8Array()),
    entitlementRevision:
      fromBinary(EntitlementSchema, offer.entitlement?.payload ?? new Uint8Array()).revision ?? {},
    removed,
  });
}

describe("publishing", () => {
  const releases = () => hub().client(ReleaseService, hub().tokens.owner);
  const stranger = signingKey(new Uint8Array(32).fill(9));

  it.each([
    {
      it: "a key that the vendor does not trust",
      make: () => signedRelease(hub(), "3.0.0", 9, stranger),
      says: "PermissionDenied UNKNOWN_KEY",
    },
    {
      it: "other content under a version that is published",
      make: () => signedRelease(hub(), "1.0.0", 7),
      says: "AlreadyExists RELEASE_IMMUTABLE",
    },
    {
      it: "a number that does not grow",
      make: () => signedRelease(hub(), "0.9.0", 2),
      says: "FailedPrecondition RELEASE_NUMBER",
    },
  ])("refuses $it", async ({ make, says }) => {
    expect(await reasonOf(releases().publishRelease({ envelope: make() }))).toContain(says);
  });

  it("answers the same release again", async () => {
    const again = await releases().publishRelease({ envelope: signedRelease(hub(), "1.1.0", 2) });
    expect(again.release?.spec).toMatchObject({ product: "etl", version: "1.1.0", number: 2n });
  });

  it("does not tell a vendor what another one has uploaded", async () => {
    const { artefacts } =
      (await releases().getRelease({ release: "etl-1.0.0" })).release?.spec?.blueprint ?? {};
    const digest = artefacts?.[0]?.digest ?? "";
    expect((await releases().statArtefact({ digest })).complete).toBe(true);
    const stranger = hub().client(ReleaseService, hub().tokens.strangerOwner);
    expect(await stranger.statArtefact({ digest })).toMatchObject({ complete: false, offset: 0n });
  });

  it("takes the next key set only from the present one", async () => {
    const keys = hub().client(HubService, hub().tokens.owner);
    const forged = keys.setKeySet({ envelope: keySet(hub(), 2n, stranger, stranger) });
    expect(await reasonOf(forged)).toContain("PermissionDenied UNKNOWN_KEY");
    const skipped = keys.setKeySet({ envelope: keySet(hub(), 3n, RELEASE_KEY, RELEASE_KEY) });
    expect(await reasonOf(skipped)).toContain("KEY_SET_VERSION");
  });
});

describe("an instance's parameters", () => {
  beforeAll(() => subscribe("acme", "pro"));

  it.each([
    { it: "missing", parameters: {}, says: "source" },
    { it: "of a wrong type", parameters: { source: 1 }, says: "parameters.source" },
    { it: "unknown", parameters: { source: "s", sauce: "x" }, says: "sauce" },
    { it: "locked by the plan", parameters: { source: "s", batchRows: 7 }, says: "batchRows" },
  ])("are refused when $it", async ({ parameters, says }) => {
    const answer = await reasonOf(instances().createInstance(dedicated("x", { parameters })));
    expect(answer).toContain("InvalidArgument PARAMETERS_INVALID");
    expect(answer).toContain(says);
  });

  it.each([
    {
      it: "a cell of another tenant",
      spec: { cell: "globex-cell" },
      says: "NotFound NOT_FOUND: cell globex-cell",
    },
    {
      it: "a release that does not exist",
      spec: { release: "9.9.9" },
      says: "NotFound NOT_FOUND: release etl-9.9.9",
    },
    {
      it: "a pooled plan for a tenant",
      spec: { plan: "free", subscription: "" },
      says: "OWNER_REFUSED",
    },
    {
      it: "a secret that the release does not declare",
      spec: { localSecrets: { nope: "x" } },
      says: "SECRET_UNKNOWN",
    },
  ])("cannot go with $it", async ({ spec, says }) => {
    expect(await reasonOf(instances().createInstance(dedicated("x", spec)))).toContain(says);
  });
});

describe("a dedicated instance", () => {
  it("is offered signed, reported on, changed, and gone once the agent says so", async () => {
    await subscribe("acme", "pro");
    const session = await connect("acme-cell");
    // The tenant's own owner makes it: what the vendor publishes is read for it, its rows are its own.
    await instances(hub().tokens.acmeOwner).createInstance(dedicated("etl"));
    const [first] = await offersTo(session);
    expect(opened(first)).toMatchObject({
      generation: { incarnation: 1n, number: 1n },
      releaseVersion: "1.0.0",
      parameters: { source: "file.db", batchRows: 100 },
      facts: { cell: "acme-cell", region: "local" },
    });
    expect(seatsIn(first)).toMatchObject([
      {
        name: "acme",
        reserved: false,
        allotments: [{ meter: "rows", amount: 1_000n, period: "P1M" }],
      },
    ]);
    if (first === undefined) throw new Error("no offer");
    expect(await offersTo(session, [heldOf(first)])).toEqual([]);

    const get = async () =>
      (await instances().getInstance({ instance: "etl", tenant: "acme" })).instance;
    const word = async (type: string) => {
      const found = (await get())?.status?.conditions.find((each) => each.type === type);
      return `${found?.status} ${found?.reason}`;
    };
    expect(await word("InSync")).toBe("False ASSIGNMENT_PENDING");
    await link().statusReported(session, report(first));
    expect(await word("InSync")).toBe("True COMMITTED");
    expect(await word("Connected")).toBe("True SESSION_OPEN");

    await instances().updateInstance(dedicated("etl", { release: "1.1.0" }));
    const [second] = await offersTo(session, [heldOf(first)]);
    expect(opened(second)).toMatchObject({ generation: { number: 2n }, releaseVersion: "1.1.0" });
    expect(await word("InSync")).toBe("False ASSIGNMENT_PENDING");

    await instances().deleteInstance({ instance: "etl", tenant: "acme" });
    expect((await get())?.metadata?.finalizers).toEqual(["workloads", "usage"]);
    const [last] = await offersTo(session, second && [heldOf(second)]);
    expect(opened(last).tombstone).toMatchObject({ keepData: true });
    if (last === undefined || second === undefined) throw new Error("no offer");
    await link().statusReported(session, report(second, true));
    expect((await get())?.metadata?.name).toBe("etl");
    await link().statusReported(session, report(last, true));
    expect(await reasonOf(get())).toContain("NotFound");
    expect(await offersTo(session, [heldOf(last, true)])).toEqual([]);
    await link().left(session);
  });
});

function report(offer: Offer, removed = false) {
  const generation = opened(offer).generation ?? {};
  return create(StatusReportSchema, {
    instances: [
      {
        instanceId: offer.instanceId,
        observedGeneration: generation,
        committedGeneration: generation,
        removed,
        conditions: [
          { type: "InSync", status: ConditionStatus.TRUE, reason: "COMMITTED", message: "serves" },
        ],
      },
    ],
  });
}

describe("a pooled instance", () => {
  it("gives each subscription a seat, without a new generation, until it is full", async () => {
    const session = await connect("hosted");
    const spec = {
      product: "etl",
      release: "1.0.0",
      plan: "free",
      cell: "hosted",
      parameters: { source: "s" },
    };
    expect(await reasonOf(subscribe("acme", "free"))).toContain("PLACEMENT_IMPOSSIBLE");
    await instances().createInstance({ instance: { metadata: { name: "pool" }, spec } });
    const [before] = await offersTo(session);
    await subscribe("acme", "free");
    const [after] = await offersTo(session, before && [heldOf(before)]);
    expect(opened(after).generation).toEqual(opened(before).generation);
    expect(seatsIn(after).map(({ name, reserved }) => ({ name, reserved }))).toEqual([
      { name: "acme", reserved: false },
      { name: "vendor", reserved: true },
    ]);
    expect(await reasonOf(subscribe("globex", "free"))).toContain("PLACEMENT_FULL");

    const seen = await hub().client(SeatService, hub().tokens.acmeOwner).listSeats({});
    expect(seen.seats.map(({ metadata, spec: seat }) => [metadata?.name, seat?.instance])).toEqual([
      ["acme", ""],
    ]);
    expect((await instances(hub().tokens.acmeOwner).listInstances({})).instances).toEqual([]);

    expect(await reasonOf(instances().deleteInstance({ instance: "pool" }))).toContain(
      "STILL_USED",
    );
    await subscriptions().deleteSubscription({ subscription: "free", tenant: "acme" });
    const [left] = await offersTo(session, after && [heldOf(after)]);
    expect(seatsIn(left).map(({ name }) => name)).toEqual(["vendor"]);
    await link().left(session);
  });
});

describe("joining", () => {
  it("lets one of many callers with one token in, and tells the owner of the cell about the others", async () => {
    const joinToken = await tokenFor(hub(), "globex-cell");
    const identity = identityHub(hub().parts.app);
    const tries = await Promise.all(Array.from({ length: 20 }, () => enrolment(joinToken)));
    const ends = await Promise.all(
      tries.map((request) => reasonOf(identity.enroll(request, { address: "127.0.0.1" }))),
    );
    expect(ends.filter((end) => end === "OK")).toHaveLength(1);
    expect(new Set(ends.filter((end) => end !== "OK")).size).toBe(1);
    expect(ends.find((end) => end !== "OK")).toContain("UNAUTHENTICATED TOKEN_REFUSED");
    const events = hub().client(EventService, hub().tokens.globexOwner);
    await expect
      .poll(async () => {
        const found = (await events.listEvents({ pageSize: 500 })).events;
        return found.filter(
          ({ type, reason }) => type === "cell.join_refused" && reason === "TOKEN_USED",
        ).length;
      })
      .toBe(19);
  });

  it("refuses a proof that another key made, and a host name that is too long", async () => {
    const joinToken = await tokenFor(hub(), "globex-cell");
    const identity = identityHub(hub().parts.app);
    const mine = await enrolment(joinToken);
    const mixed = { ...mine, identityKey: (await enrolment(joinToken)).identityKey };
    expect(await reasonOf(identity.enroll(mixed, { address: "" }))).toContain("IDENTITY_PROOF");
    const long = await enrolment(joinToken, "h".repeat(300));
    expect(await reasonOf(identity.enroll(long, { address: "" }))).toContain("TEXT_TOO_LONG");
    expect(await reasonOf(identity.enroll(mine, { address: "" }))).toBe("OK");
  });
});

describe("the link", () => {
  it("knows an agent by a registered certificate of its own cell only", async () => {
    const { principal } = await joinCell(hub(), "globex-cell");
    const forged = link().admit({ ...principal, serial: "00ff" }, undefined);
    expect(await reasonOf(forged)).toContain("UNAUTHENTICATED CERTIFICATE_UNKNOWN");
    const other = await joinCell(hub(), "hosted");
    const elsewhere = { ...principal, cellId: other.principal.cellId };
    expect(await reasonOf(link().admit(elsewhere, undefined))).toContain("UNAUTHENTICATED");
  });

  it("drops a report about an instance of another cell", async () => {
    const session = await connect("globex-cell");
    const [pool] = (await instances().listInstances({})).instances;
    const before = pool?.status?.reportTime;
    const instanceId = pool?.metadata?.id ?? "";
    const lie = { instanceId, removed: true, observedGeneration: { incarnation: 99n, number: 1n } };
    await link().statusReported(session, create(StatusReportSchema, { instances: [lie] }));
    const [now] = (await instances().listInstances({})).instances;
    expect(now?.status?.reportTime).toEqual(before);
    expect(now?.metadata?.name).toBe("pool");
  });

  it("refuses what an older session says", async () => {
    const session = await connect("globex-cell");
    await link().admit(session, create(HelloSchema, { fencing: session.fencing }));
    const late = link().statusReported(session, create(StatusReportSchema));
    expect(await reasonOf(late)).toContain("ABORTED SESSION_OLD");
  });

  it("hands out a release and its artefact to the cells that are to run it, and to no others", async () => {
    const hosted = await connect("hosted");
    const elsewhere = await connect("globex-cell");
    const [offer] = await offersTo(hosted);
    const digest = opened(offer).releaseDigest;
    expect(digestOf((await link().release(hosted, digest)).payload)).toBe(digest);
    expect(await reasonOf(link().release(elsewhere, digest))).toContain("NOT_FOUND");
  });
});
