/** Instances that need others: which may be named, that no circle closes, and that none goes while it is needed. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema } from "@holdfast/proto/google/rpc/error_details_pb.js";
import { CellKind, CellService } from "@holdfast/proto/holdfast/api/v1/cell_pb.js";
import { InstanceService } from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { ReleaseService } from "@holdfast/proto/holdfast/api/v1/release_pb.js";
import { SubscriptionService } from "@holdfast/proto/holdfast/api/v1/subscription_pb.js";
import { ControlResponseSchema, HelloSchema } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { AssignmentSchema } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import {
  BlueprintSchema,
  InstanceDependencySchema,
} from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import { signEnvelope } from "@holdfast/shared/dsse.ts";
import { beforeAll, describe, expect, it } from "vitest";
import { useTestHub } from "../testing-hub.ts";
import { joinCell, offerProduct, RELEASE_KEY, signedRelease } from "../testing-product.ts";
import { linkHub } from "./link/link-hub.ts";

const hub = useTestHub();
const NEEDED = { name: "db", product: "etl", outputs: { url: "string" } };
const instances = (token = hub().tokens.owner) => hub().client(InstanceService, token);

beforeAll(async () => {
  await offerProduct(hub());
  const { owner } = hub().tokens;
  const plain = fromBinary(BlueprintSchema, signedRelease(hub(), "2.0.0", 3).payload);
  const needing = create(BlueprintSchema, {
    ...plain,
    instances: [create(InstanceDependencySchema, NEEDED)],
  });
  const envelope = signEnvelope("blueprint", toBinary(BlueprintSchema, needing), [RELEASE_KEY]);
  await hub().client(ReleaseService, owner).publishRelease({ envelope });
  for (const tenant of ["acme", "globex"]) {
    const subscription = { metadata: { name: "pro", tenant }, spec: { plan: "pro" } };
    await hub().client(SubscriptionService, owner).createSubscription({ subscription });
  }
  await hub()
    .client(CellService, owner)
    .createCell({
      cell: { metadata: { name: "acme-far", tenant: "acme" }, spec: { kind: CellKind.BYOA } },
    });
});

async function reasonOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "OK";
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    const [info] = error.findDetails(ErrorInfoSchema);
    return `${Code[error.code]} ${info?.reason}: ${error.rawMessage}`;
  }
}

type Wish = Readonly<{
  tenant?: string;
  cell?: string;
  db?: string;
  more?: Record<string, string>;
}>;

function wish(
  name: string,
  { tenant = "acme", cell = `${tenant}-cell`, db, more = {} }: Wish = {},
) {
  const isNeeding = db !== undefined || Object.keys(more).length > 0;
  return {
    instance: {
      metadata: { name, tenant },
      spec: {
        ...{ product: "etl", release: isNeeding ? "2.0.0" : "1.0.0", plan: "pro" },
        ...{ subscription: "pro", cell, parameters: { source: "file.db" } },
        instances: { ...(db === undefined ? {} : { db }), ...more },
      },
    },
  };
}

const made = async (...of: Parameters<typeof wish>) =>
  (await instances().createInstance(wish(...of))).instance;

describe("an instance that needs another", () => {
  it("says which in its assignment, and shows it by name", async () => {
    const store = await made("store");
    const worker = await made("worker", { db: "store" });
    expect(worker?.spec?.instances).toEqual({ db: "store" });
    const { principal } = await joinCell(hub(), "acme-cell");
    const link = linkHub(hub().parts.app);
    const hello = create(HelloSchema, { fencing: principal.fencing, agentVersion: "test" });
    const session = await link.admit(principal, hello);
    const { frames } = await link.differing(session, [], 64);
    const told = frames.flatMap(({ bytes }) => {
      const { message } = fromBinary(ControlResponseSchema, bytes);
      const payload = message.case === "offer" ? message.value.assignment?.payload : undefined;
      return payload === undefined ? [] : [fromBinary(AssignmentSchema, payload)];
    });
    const own = told.find(({ instanceName }) => instanceName === "worker");
    expect(own?.instances).toMatchObject([
      { name: "db", instanceId: store?.metadata?.id, instanceName: "store" },
    ]);
  });

  it.each<[string, Wish, string]>([
    ["none is named", { more: { other: "store" } }, "InvalidArgument INSTANCE_UNNAMED"],
    ["it is not there", { db: "nowhere" }, "NotFound NOT_FOUND"],
    ["it is another tenant's", { tenant: "globex", db: "store" }, "NotFound NOT_FOUND"],
    [
      "it is in another cell",
      { cell: "acme-far", db: "store" },
      "FailedPrecondition INSTANCE_UNFIT",
    ],
  ])("is refused where %s", async (_, change, reason) => {
    expect(await reasonOf(instances().createInstance(wish("refused", change)))).toContain(reason);
  });

  it("is refused where the release names one and the instance does not", async () => {
    const { instance } = wish("refused");
    const spec = { ...instance.spec, release: "2.0.0" };
    const call = instances().createInstance({ instance: { ...instance, spec } });
    expect(await reasonOf(call)).toContain("InvalidArgument INSTANCE_MISSING");
  });

  it("cannot be needed by what it needs: the whole circle is named", async () => {
    await made("a");
    await made("b", { db: "a" });
    await made("c", { db: "b" });
    const closing = instances().updateInstance(wish("a", { db: "c" }));
    expect(await reasonOf(closing)).toMatch(/DEPENDENCY_CYCLE: .* a -> c -> b -> a$/);
    const itself = instances().updateInstance(wish("a", { db: "a" }));
    expect(await reasonOf(itself)).toMatch(/DEPENDENCY_CYCLE: .* a -> a$/);
  });
});

describe("an instance that is needed", () => {
  it("is not deleted, and its dependants are named", async () => {
    await made("needed");
    await made("first", { db: "needed" });
    await made("second", { db: "needed" });
    const remove = (instance: string) => instances().deleteInstance({ instance, tenant: "acme" });
    expect(await reasonOf(remove("needed"))).toMatch(
      /FailedPrecondition STILL_NEEDED: .*first, second/,
    );
    await instances().updateInstance(wish("first", { db: "store" }));
    expect(await reasonOf(remove("needed"))).toMatch(/STILL_NEEDED: .*second takes/);
    await instances().updateInstance(wish("second"));
    expect(await reasonOf(remove("needed"))).toBe("OK");
    const late = instances().createInstance(wish("third", { db: "needed" }));
    expect(await reasonOf(late)).toContain("FailedPrecondition DELETED");
  });
});
