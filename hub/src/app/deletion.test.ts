/**
 * From a deletion to what is left of it, on a real database: what it waits for, what is kept and listed, the way back,
 * and destroy orders that the hub hands on and cannot make.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Timestamp, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema } from "@holdfast/proto/google/rpc/error_details_pb.js";
import { ActionService, ActionStatus } from "@holdfast/proto/holdfast/api/v1/action_pb.js";
import { HubService } from "@holdfast/proto/holdfast/api/v1/hub_pb.js";
import {
  InstanceService,
  UndeleteInstanceRequestSchema,
} from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { KeptDataService } from "@holdfast/proto/holdfast/api/v1/kept_data_pb.js";
import { SeatService } from "@holdfast/proto/holdfast/api/v1/seat_pb.js";
import { SubscriptionService } from "@holdfast/proto/holdfast/api/v1/subscription_pb.js";
import {
  ControlResponseSchema,
  HelloSchema,
  type Offer,
  StatusReportSchema,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import {
  ActionKind,
  ActionResultSchema,
  ActionState,
} from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import {
  AssignmentSchema,
  DestroyOrderSchema,
} from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { KeyPurpose, KeySetSchema } from "@holdfast/proto/holdfast/model/v1/keys_pb.js";
import {
  rawPublicKeyOf,
  type SigningKey,
  signEnvelope,
  signingKey,
} from "@holdfast/shared/dsse.ts";
import { idOf, NIL_UUID } from "@holdfast/shared/ids.ts";
import { beforeAll, describe, expect, it } from "vitest";
import type { AgentSession, LinkHub } from "../link/port.ts";
import { useTestHub } from "../testing-hub.ts";
import { joinCell, offerProduct, RELEASE_KEY, vendorIdOf } from "../testing-product.ts";
import type { Call } from "./caller.ts";
import { linkHub } from "./link/link-hub.ts";
import { undeleteInstance } from "./undelete.ts";

const hub = useTestHub();
const DESTROY_KEY = signingKey(new Uint8Array(32).fill(21));
const STRANGER = signingKey(new Uint8Array(32).fill(22));

const link = (): LinkHub => linkHub(hub().parts.app);
const instances = (token = hub().tokens.owner) => hub().client(InstanceService, token);
const kept = async (token = hub().tokens.owner, query = {}) =>
  (await hub().client(KeptDataService, token).listKeptData(query)).keptData;

let session: AgentSession;
beforeAll(async () => {
  await offerProduct(hub());
  const subscription = { metadata: { name: "pro", tenant: "acme" }, spec: { plan: "pro" } };
  await hub().client(SubscriptionService, hub().tokens.owner).createSubscription({ subscription });
  const { principal } = await joinCell(hub(), "acme-cell");
  const hello = create(HelloSchema, { fencing: principal.fencing, agentVersion: "test" });
  session = await link().admit(principal, hello);
});

async function reasonOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "OK";
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    return `${Code[error.code]} ${error.findDetails(ErrorInfoSchema)[0]?.reason}`;
  }
}

async function made(name: string): Promise<string> {
  const { instance } = await instances().createInstance({
    instance: {
      metadata: { name, tenant: "acme" },
      spec: {
        ...{ product: "etl", release: "1.0.0", plan: "pro", subscription: "pro" },
        ...{ cell: "acme-cell", parameters: { source: "file.db" } },
      },
    },
  });
  return instance?.metadata?.id ?? "";
}

async function assignmentOf(id: string) {
  const { frames } = await link().differing(session, [], 64);
  const offers = frames.map(({ bytes }) => fromBinary(ControlResponseSchema, bytes).message.value);
  const offer = offers.map((each) => each as Offer).find(({ instanceId }) => instanceId === id);
  return fromBinary(AssignmentSchema, offer?.assignment?.payload ?? new Uint8Array());
}

type OrderChange = Readonly<{
  cellId?: string;
  vendorId?: string;
  instanceId?: string;
  generation?: Readonly<{ incarnation: bigint; number: bigint }>;
  expireTime?: Timestamp;
  names?: string[];
}>;
type Report = Readonly<{ removed?: boolean; finalizers?: readonly string[]; data?: boolean }>;

async function says(id: string, number: bigint, report: Report = {}): Promise<void> {
  const { removed = false, finalizers = [], data = removed } = report;
  const since = timestampFromMs(Date.now());
  const status = create(StatusReportSchema, {
    instances: [
      {
        ...{ instanceId: id, removed },
        observedGeneration: { incarnation: hub().parts.app.incarnation, number },
        finalizers: finalizers.map((name) => ({ name, reason: "WAITS", message: `${name} waits` })),
        kept: data ? [{ name: "data", bytes: 4_096n, since }] : [],
      },
    ],
  });
  expect(await link().statusReported(session, status)).toBeUndefined();
}

/** Deleted and gone, with its data kept. */
async function gone(name: string): Promise<string> {
  const id = await made(name);
  await instances().deleteInstance({ instance: name, tenant: "acme" });
  await says(id, 2n, { removed: true });
  return id;
}

describe("a deletion", () => {
  it("says what it waits for, one after the other", async () => {
    const id = await made("slow");
    await instances().deleteInstance({ instance: "slow", tenant: "acme" });
    const view = async () => {
      const { instance } = await instances().getInstance({ instance: id });
      const shown = instance?.status?.finalizers.map(({ name, reason }) => `${name} ${reason}`);
      return [instance?.metadata?.finalizers, shown];
    };
    expect(await view()).toEqual([
      ["workloads", "usage"],
      ["workloads UNCONFIRMED", "usage UNCONFIRMED"],
    ]);
    await says(id, 1n, { finalizers: ["usage"] });
    expect((await view())[0]).toEqual(["workloads", "usage"]);
    await says(id, 2n, { finalizers: ["workloads", "usage"] });
    expect((await view())[1]).toEqual(["workloads WAITS", "usage WAITS"]);
    await says(id, 2n, { finalizers: ["usage"] });
    expect(await view()).toEqual([["usage"], ["usage WAITS"]]);
    expect((await assignmentOf(id)).tombstone).toMatchObject({
      keepData: true,
      retention: { seconds: 30n * 86_400n },
    });
    await says(id, 2n, { removed: true });
    expect(await reasonOf(instances().getInstance({ instance: id }))).toBe("NotFound NOT_FOUND");
  });
});

describe("kept data", () => {
  it("is listed after the instance has gone, to its own tenant and the vendor alone", async () => {
    const id = await gone("old");
    const [found] = await kept(hub().tokens.acmeOwner, { instance: "old" });
    expect(found).toMatchObject({
      ...{ instanceId: id, instance: "old", tenant: "acme", cell: "acme-cell", name: "data" },
      ...{ bytes: 4_096n, generation: { number: 2n } },
    });
    expect(found?.undeleteUntil).toBeDefined();
    expect(await kept(hub().tokens.owner, { instance: "old" })).toEqual([found]);
    expect(await kept(hub().tokens.globexOwner)).toEqual([]);
    expect(await kept(hub().tokens.strangerOwner)).toEqual([]);
    // The agent says it again at each contact, and once more when it is destroyed.
    await says(id, 2n, { removed: true });
    expect(await kept(hub().tokens.owner, { instance: "old" })).toHaveLength(1);
    await says(id, 2n, { removed: true, data: false });
    expect(await kept(hub().tokens.owner, { instance: "old" })).toEqual([]);
  });

  it("comes in pages", async () => {
    for (const name of ["page-a", "page-b", "page-c"]) await gone(name);
    const client = hub().client(KeptDataService, hub().tokens.owner);
    const seen: string[] = [];
    for (let pageToken = ""; ; ) {
      const page = await client.listKeptData({ pageSize: 2, pageToken, cell: "acme-cell" });
      seen.push(...page.keptData.map(({ instance }) => instance));
      pageToken = page.nextPageToken;
      if (pageToken === "") break;
    }
    expect(seen.filter((name) => name.startsWith("page-"))).toEqual(["page-a", "page-b", "page-c"]);
    expect(new Set(seen).size).toBe(seen.length);
  });

  it("of another cell's instance is not believed", async () => {
    const id = await gone("elsewhere");
    const { principal } = await joinCell(hub(), "globex-cell");
    const hello = create(HelloSchema, { fencing: principal.fencing, agentVersion: "test" });
    const other = await link().admit(principal, hello);
    const report = create(StatusReportSchema, { instances: [{ instanceId: id, removed: true }] });
    await link().statusReported(other, report);
    expect(await kept(hub().tokens.owner, { instance: "elsewhere" })).toHaveLength(1);
  });
});

describe("an undeletion", () => {
  const undelete = (instance: string, token = hub().tokens.owner, more = {}) =>
    instances(token).undeleteInstance({ instance, tenant: "acme", ...more });

  it("of an instance that is gone brings back the same one with its seat", async () => {
    const seat = async () => {
      const { seats } = await hub().client(SeatService, hub().tokens.owner).listSeats({});
      return seats.find(({ spec }) => spec?.instance === "back")?.metadata?.id;
    };
    const id = await made("back");
    const before = await seat();
    await instances().deleteInstance({ instance: "back", tenant: "acme" });
    await says(id, 2n, { removed: true });
    expect(await seat()).toBeUndefined();
    const dry = await undelete("back", hub().tokens.acmeOwner, { validateOnly: true });
    expect(dry.instance?.metadata?.id).toBe(id);
    expect(await reasonOf(instances().getInstance({ instance: id }))).toBe("NotFound NOT_FOUND");
    const { instance } = await undelete("back", hub().tokens.acmeOwner);
    expect(instance?.metadata).toMatchObject({ id, name: "back", finalizers: [] });
    expect(instance?.metadata?.deleteTime).toBeUndefined();
    expect(await seat()).toBe(before);
    expect(await kept(hub().tokens.owner, { instance: "back" })).toEqual([]);
    const assignment = await assignmentOf(id);
    expect(assignment).toMatchObject({ generation: { number: 3n }, releaseVersion: "1.0.0" });
    expect(assignment.tombstone).toBeUndefined();
    // What the agent still says of the old tombstone ends nothing.
    await says(id, 2n, { removed: true });
    expect(await reasonOf(instances().getInstance({ instance: id }))).toBe("OK");
  });

  it("of one that is being deleted takes the tombstone back", async () => {
    const id = await made("regretted");
    await instances().deleteInstance({ instance: "regretted", tenant: "acme" });
    await undelete("regretted");
    expect((await assignmentOf(id)).tombstone).toBeUndefined();
  });

  it("is refused where there is nothing to bring back, and to strangers", async () => {
    await made("alive");
    expect(await reasonOf(undelete("alive"))).toBe("FailedPrecondition NOT_DELETED");
    expect(await reasonOf(undelete("never-was"))).toBe("NotFound NOT_FOUND");
    const id = await gone("foreign");
    for (const token of [hub().tokens.globexOwner, hub().tokens.strangerOwner]) {
      expect(await reasonOf(instances(token).undeleteInstance({ instance: id }))).toBe(
        "NotFound NOT_FOUND",
      );
    }
    expect(await reasonOf(undelete(id, hub().tokens.viewer))).toBe(
      "PermissionDenied PERMISSION_MISSING",
    );
  });

  it("is refused once the name is another one's, and once its time is over", async () => {
    await gone("taken");
    await made("taken");
    expect(await reasonOf(undelete("taken"))).toBe("AlreadyExists NAME_TAKEN");
    await gone("late");
    const { app } = hub().parts;
    const clock = { ...app.clock, now: () => Date.now() + 31 * 86_400_000 };
    const late = undeleteInstance({ ...app, clock }, callOf(), request("late"));
    await expect(late).rejects.toMatchObject({ reason: "UNDELETE_TOO_LATE" });
    expect(await reasonOf(undelete("late"))).toBe("OK");
  });
});

const request = (instance: string) =>
  create(UndeleteInstanceRequestSchema, { instance, tenant: "acme" });

/** By the vendor's owner, as the API makes it. */
function callOf(): Call {
  const vendor = { vendorId: vendorIdOf(hub()), vendorName: "vendor" };
  return {
    caller: {
      ...{ ...vendor, tenantId: NIL_UUID, tenantName: "", memberId: NIL_UUID },
      ...{ memberName: "owner", roles: ["owner"] },
    },
    ...{ permission: "instance.undelete", callId: "call" },
    signal: new AbortController().signal,
  };
}

describe("a destroy order", () => {
  const setKeys = (version: bigint, key: SigningKey, by: readonly SigningKey[]) => {
    const purpose = KeyPurpose.DESTROY;
    const set = create(KeySetSchema, {
      vendorId: idOf("vendor", vendorIdOf(hub())),
      ...{ version, purpose },
      keys: [{ keyId: key.keyId, purpose, publicKey: rawPublicKeyOf(key.privateKey) }],
    });
    const envelope = signEnvelope("keyset", toBinary(KeySetSchema, set), by);
    return hub().client(HubService, hub().tokens.owner).setKeySet({ envelope });
  };

  const order = async (id: string, change: OrderChange = {}, by = DESTROY_KEY) => {
    const payload = toBinary(
      DestroyOrderSchema,
      create(DestroyOrderSchema, {
        vendorId: idOf("vendor", vendorIdOf(hub())),
        cellId: idOf("cell", session.cellId),
        instanceId: id,
        generation: { incarnation: hub().parts.app.incarnation, number: 2n },
        signTime: timestampFromMs(Date.now()),
        expireTime: timestampFromMs(Date.now() + 3_600_000),
        nonce: new Uint8Array(16).fill(1),
        ...change,
      }),
    );
    const destroyOrder = signEnvelope("destroy", payload, [by]);
    return hub()
      .client(ActionService, hub().tokens.owner)
      .createAction({ kind: ActionKind.DESTROY, instance: id, destroyOrder });
  };

  it("needs keys that a release key has vouched for, at first and at each rotation", async () => {
    const id = await gone("keyless");
    expect(await reasonOf(order(id))).toBe("FailedPrecondition DESTROY_KEYS_MISSING");
    expect(await reasonOf(setKeys(1n, DESTROY_KEY, [DESTROY_KEY]))).toBe(
      "PermissionDenied UNKNOWN_KEY",
    );
    expect(await reasonOf(setKeys(1n, STRANGER, [RELEASE_KEY]))).toBe("OK");
    expect(await reasonOf(setKeys(2n, DESTROY_KEY, [STRANGER]))).toBe(
      "PermissionDenied UNKNOWN_KEY",
    );
    expect(await reasonOf(setKeys(2n, DESTROY_KEY, [RELEASE_KEY]))).toBe(
      "PermissionDenied UNKNOWN_KEY",
    );
    expect(await reasonOf(setKeys(2n, DESTROY_KEY, [STRANGER, RELEASE_KEY]))).toBe("OK");
  });

  it("is kept as it was signed, given to the cell's agent, and ends by its answer", async () => {
    const id = await gone("unwanted");
    const { action } = await order(id, { names: ["data"] });
    expect(action).toMatchObject({ instance: "unwanted", resource: "data" });
    const [given] = (await link().actionsDue(session, 64)).filter(
      ({ instanceId }) => instanceId === id,
    );
    const sent = fromBinary(DestroyOrderSchema, given?.destroyOrder?.payload ?? new Uint8Array());
    expect(sent).toMatchObject({ instanceId: id, names: ["data"] });
    expect(given?.destroyOrder?.signatures.map(({ keyId }) => keyId)).toEqual([DESTROY_KEY.keyId]);
    const result = { id: given?.id ?? "", state: ActionState.DONE, reason: "DESTROYED" };
    await link().actionEnded(session, create(ActionResultSchema, result));
    const client = hub().client(ActionService, hub().tokens.owner);
    const { action: ended } = await client.getAction({ action: action?.id ?? "" });
    expect(ended).toMatchObject({ status: ActionStatus.DONE, reason: "DESTROYED" });
    expect(await reasonOf(instances().undeleteInstance({ instance: id }))).toBe(
      "FailedPrecondition DATA_DESTROYED",
    );
  });

  it("that no agent would take is refused early", async () => {
    const id = await gone("guarded");
    const cell = idOf("cell", "00000000-0000-7000-8000-0000000000ff");
    const vendor = idOf("vendor", "00000000-0000-7000-8000-0000000000fe");
    const { incarnation } = hub().parts.app;
    const refusals: readonly (readonly [OrderChange, string])[] = [
      [{ cellId: cell }, "NotFound NOT_FOUND"],
      [{ vendorId: vendor }, "NotFound NOT_FOUND"],
      [{ instanceId: idOf("instance", cell.slice(4)) }, "NotFound NOT_FOUND"],
      [{ generation: { incarnation, number: 1n } }, "FailedPrecondition ORDER_GENERATION"],
      [{ expireTime: timestampFromMs(Date.now() - 1_000) }, "InvalidArgument ORDER_EXPIRED"],
      [
        { expireTime: timestampFromMs(Date.now() + 32 * 86_400_000) },
        "InvalidArgument ORDER_EXPIRED",
      ],
      [{ names: Array.from({ length: 101 }, (_, n) => `v${n}`) }, "InvalidArgument ORDER_NAMES"],
    ];
    for (const [change, reason] of refusals) {
      expect(await reasonOf(order(id, change))).toBe(reason);
    }
    for (const by of [
      STRANGER,
      RELEASE_KEY,
      hub().parts.app.keysOf(vendorIdOf(hub())).assignmentKey,
    ]) {
      expect(await reasonOf(order(id, {}, by))).toBe("PermissionDenied UNKNOWN_KEY");
    }
    const client = hub().client(ActionService, hub().tokens.owner);
    const bare = { kind: ActionKind.DESTROY, instance: id };
    expect(await reasonOf(client.createAction(bare))).toBe("InvalidArgument ORDER_MISSING");
    const destroyOrder = signEnvelope("destroy", new Uint8Array([255]), [DESTROY_KEY]);
    expect(await reasonOf(client.createAction({ ...bare, destroyOrder }))).toBe(
      "InvalidArgument ORDER_MALFORMED",
    );
    const restart = { kind: ActionKind.RESTART, instance: id, destroyOrder };
    expect(await reasonOf(client.createAction(restart))).toBe("InvalidArgument ORDER_REFUSED");
  });
});
