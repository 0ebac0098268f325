/** Whom a release or a cell concerns, and what happened last: what a person on call asks the API first. */
import { create, fromBinary } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema } from "@holdfast/proto/google/rpc/error_details_pb.js";
import { EventOrder, EventService } from "@holdfast/proto/holdfast/api/v1/event_pb.js";
import { InstanceService } from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { SeatService } from "@holdfast/proto/holdfast/api/v1/seat_pb.js";
import { SubscriptionService } from "@holdfast/proto/holdfast/api/v1/subscription_pb.js";
import {
  ControlResponseSchema,
  HelloSchema,
  type Offer,
  StatusReportSchema,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { AssignmentSchema } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { beforeAll, describe, expect, it } from "vitest";
import { useTestHub } from "../testing-hub.ts";
import { joinCell, offerProduct } from "../testing-product.ts";
import { linkHub } from "./link/link-hub.ts";

const hub = useTestHub();
const owner = () => hub().tokens.owner;

const spec = (release: string, plan: string, cell: string) => {
  const subscription = plan === "pro" ? "pro" : "";
  return { product: "etl", release, plan, cell, subscription, parameters: { source: "s" } };
};

/** pool: free, hosted, 1.0.0, with a seat of acme's. etl of acme and of globex: each in its own cell, 1.0.0. */
beforeAll(async () => {
  await offerProduct(hub());
  const instances = hub().client(InstanceService, owner());
  const subscriptions = hub().client(SubscriptionService, owner());
  const instance = { metadata: { name: "pool" }, spec: spec("1.0.0", "free", "hosted") };
  await instances.createInstance({ instance });
  const subscribe = (tenant: string, plan: string) => {
    const metadata = { name: plan, tenant };
    return subscriptions.createSubscription({ subscription: { metadata, spec: { plan } } });
  };
  await subscribe("acme", "free");
  for (const tenant of ["acme", "globex"]) {
    await subscribe(tenant, "pro");
    const metadata = { name: "etl", tenant };
    const made = { metadata, spec: spec("1.0.0", "pro", `${tenant}-cell`) };
    await instances.createInstance({ instance: made });
  }
  await Promise.all(["hosted", "acme-cell", "globex-cell"].map(serveAll));
  // Wants 1.1.0, is served by 1.0.0.
  const metadata = { name: "etl", tenant: "acme" };
  const changed = { metadata, spec: spec("1.1.0", "pro", "acme-cell") };
  await instances.updateInstance({ instance: changed });
});

/** An agent of the cell that reports every instance as serving what it was offered. */
async function serveAll(cell: string): Promise<void> {
  const link = linkHub(hub().parts.app);
  const { principal } = await joinCell(hub(), cell);
  const session = await link.admit(principal, create(HelloSchema, { fencing: principal.fencing }));
  const { frames } = await link.differing(session, [], 64);
  const instances = frames.map(({ bytes }) => {
    const offer = fromBinary(ControlResponseSchema, bytes).message.value as Offer;
    const payload = offer.assignment?.payload ?? new Uint8Array();
    const { generation = {}, releaseVersion } = fromBinary(AssignmentSchema, payload);
    return {
      instanceId: offer.instanceId,
      observedGeneration: generation,
      committedGeneration: generation,
      committedReleaseVersion: releaseVersion,
    };
  });
  await link.statusReported(session, create(StatusReportSchema, { instances }));
}

async function concerned(query: object, token = owner()): Promise<string[]> {
  const { instances } = await hub().client(InstanceService, token).listInstances(query);
  return instances.map(({ metadata }) => `${metadata?.tenant}/${metadata?.name}`).sort();
}

async function seated(query: object, token = owner()): Promise<string[]> {
  const { seats } = await hub().client(SeatService, token).listSeats(query);
  return seats.map(({ metadata, spec: seat }) => `${metadata?.tenant}@${seat?.product}`).sort();
}

async function reasonOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "OK";
  } catch (error) {
    const failure = ConnectError.from(error);
    return `${failure.findDetails(ErrorInfoSchema)[0]?.reason}: ${failure.rawMessage}`;
  }
}

describe("instances", () => {
  it.each([
    [{ release: "1.0.0" }, ["/pool", "acme/etl", "globex/etl"]],
    [{ release: "1.1.0" }, ["acme/etl"]],
    [{ release: "etl-1.1.0" }, ["acme/etl"]],
    [{ cell: "hosted" }, ["/pool"]],
    [{ release: "1.0.0", cell: "globex-cell" }, ["globex/etl"]],
    [{ release: "1.1.0", cell: "globex-cell" }, []],
    [{ release: "1.0.0", tenant: "acme" }, ["acme/etl"]],
  ])("are found by %j", async (query, expected) => {
    expect(await concerned(query)).toEqual(expected);
  });

  it("are found by the ids of release and cell", async () => {
    const [all] = (
      await hub().client(InstanceService, owner()).listInstances({ cell: "acme-cell" })
    ).instances;
    const cell = await hub()
      .client(InstanceService, owner())
      .getInstance({
        instance: all?.metadata?.id ?? "",
      });
    expect(cell.instance?.spec?.cell).toBe("acme-cell");
    expect(await reasonOf(concerned({ cell: all?.metadata?.id }))).toContain("ID_MALFORMED");
  });

  it("of other tenants stay out of sight, and so do their releases and cells", async () => {
    const { globexOwner } = hub().tokens;
    expect(await concerned({ release: "1.0.0" }, globexOwner)).toEqual(["globex/etl"]);
    const said = await reasonOf(concerned({ release: "1.1.0" }, globexOwner));
    expect(said).toBe("NOT_FOUND: release 1.1.0: not found");
    expect(await reasonOf(concerned({ cell: "acme-cell" }, globexOwner))).toBe(
      "NOT_FOUND: cell acme-cell: not found",
    );
  });

  it("are not empty because of a slip", async () => {
    expect(await reasonOf(concerned({ release: "9.9.9" }))).toContain("release 9.9.9: not found");
    expect(await reasonOf(concerned({ cell: "hostd" }))).toContain("cell hostd: not found");
  });

  it("come in pages, whose tokens hold for the same question only", async () => {
    const instances = hub().client(InstanceService, owner());
    const query = { release: "1.0.0", pageSize: 1 };
    const seen: string[] = [];
    for (let pageToken = ""; ; ) {
      const page = await instances.listInstances({ ...query, pageToken });
      seen.push(...page.instances.map(({ metadata }) => metadata?.id ?? ""));
      if (page.nextPageToken === "") break;
      pageToken = page.nextPageToken;
      const other = instances.listInstances({ release: "1.1.0", pageSize: 1, pageToken });
      expect(await reasonOf(other)).toContain("PAGE_TOKEN_INVALID");
    }
    expect(new Set(seen).size).toBe(3);
  });
});

describe("seats", () => {
  it("tell which tenants a release serves, also in a pool", async () => {
    expect(await seated({ release: "1.0.0" })).toEqual([
      "@etl",
      "acme@etl",
      "acme@etl",
      "globex@etl",
    ]);
    expect(await seated({ release: "1.1.0" })).toEqual([]);
    expect(await seated({ cell: "hosted" })).toEqual(["@etl", "acme@etl"]);
    expect(await seated({ release: "1.0.0" }, hub().tokens.acmeOwner)).toEqual([
      "acme@etl",
      "acme@etl",
    ]);
  });
});

describe("events, the newest first", () => {
  const order = EventOrder.NEWEST_FIRST;
  const ids = async (query: object, token = owner()) => {
    const { events } = await hub().client(EventService, token).listEvents(query);
    return events.map(({ id }) => id);
  };
  /** The sequencer needs a moment. */
  const settled = () =>
    expect
      .poll(async () => {
        const { events } = await hub().client(EventService, owner()).listEvents({
          order,
          subject: "instance/pool",
        });
        return events.map(({ type }) => type);
      })
      .toContain("instance.created");

  it.each([
    ["all", {}],
    ["of one tenant", { tenant: "acme" }],
    ["of one object", { subject: "cell/hosted" }],
  ])("are the others turned around: %s", async (_, query) => {
    await settled();
    const forward = await ids({ ...query, pageSize: 500 });
    expect(forward.length).toBeGreaterThan(0);
    expect(await ids({ ...query, pageSize: 500, order })).toEqual(forward.toReversed());
  });

  it("go back in pages to the beginning, and forward with the watch token", async () => {
    await settled();
    const client = hub().client(EventService, owner());
    const forward = await ids({ pageSize: 500 });
    const seen: string[] = [];
    const first = await client.listEvents({ pageSize: 3, order });
    for (let page = first; page.events.length > 0; ) {
      seen.push(...page.events.map(({ id }) => id));
      page = await client.listEvents({ pageSize: 3, order, pageToken: page.nextPageToken });
    }
    expect(seen).toEqual(forward.toReversed());
    expect(await ids({ pageToken: first.watchToken })).toEqual([]);
    const mixed = client.listEvents({ pageToken: first.nextPageToken });
    expect(await reasonOf(mixed)).toContain("PAGE_TOKEN_INVALID");
  });

  it("show a tenant its own chain alone", async () => {
    await settled();
    const { events } = await hub()
      .client(EventService, hub().tokens.globexOwner)
      .listEvents({ order, pageSize: 500 });
    expect(new Set(events.map(({ tenant }) => tenant))).toEqual(new Set(["globex"]));
  });
});
