/** Lists over the wire: narrowed and sorted as asked, over all pages, and never by what is not in the grammar. */
import { EnvironmentService } from "@holdfast/proto/holdfast/api/v1/environment_pb.js";
import { TenantService } from "@holdfast/proto/holdfast/api/v1/tenant_pb.js";
import { beforeAll, describe, expect, it } from "vitest";
import { useTestHub } from "../testing-hub.ts";
import { refusal } from "./refusals.test-world.ts";

const hub = useTestHub();
const environments = () => hub().client(EnvironmentService, hub().tokens.owner);
const NAMES = ["charlie", "alpha", "bravo-1", "bravo-2", "delta"];
let fourthAt = "";

beforeAll(async () => {
  for (const name of NAMES) {
    const labels = { tier: name.startsWith("bravo") ? "gold" : "base" };
    const made = await environments().createEnvironment({
      environment: { metadata: { name, labels } },
    });
    if (name !== "bravo-2") continue;
    const { seconds = 0n, nanos = 0 } = made.environment?.metadata?.createTime ?? {};
    fourthAt = new Date(Number(seconds) * 1_000 + nanos / 1e6).toISOString();
  }
});

/** All names of the list, page by page. */
async function namesOf(filter: string, orderBy = "", pageSize = 2): Promise<readonly string[]> {
  const names: string[] = [];
  for (let pageToken = ""; ; ) {
    const query = { filter, orderBy, pageSize, pageToken };
    const page = await environments().listEnvironments(query);
    names.push(...page.environments.map(({ metadata }) => metadata?.name ?? ""));
    pageToken = page.nextPageToken;
    if (pageToken === "") return names;
  }
}

describe("a list", () => {
  it.each([
    { orderBy: "", names: NAMES.toSorted() },
    { orderBy: "name desc", names: NAMES.toSorted().toReversed() },
    { orderBy: "create_time", names: NAMES },
    { orderBy: "create_time desc", names: NAMES.toReversed() },
  ])("sorted by $orderBy has every object once", async ({ orderBy, names }) => {
    expect(await namesOf("", orderBy)).toEqual(names);
  });

  it.each([
    { filter: 'name = "alpha"', names: ["alpha"] },
    { filter: 'name : "bravo"', names: ["bravo-1", "bravo-2"] },
    { filter: 'name : "%"', names: [] },
    { filter: 'labels.tier = "gold" AND name : "2"', names: ["bravo-2"] },
    { filter: 'labels.tier = "none"', names: [] },
  ])("narrowed by $filter finds these and no others", async ({ filter, names }) => {
    expect(await namesOf(filter)).toEqual(names);
  });

  it("narrowed by time is cut where the time is", async () => {
    expect(await namesOf(`create_time >= "${fourthAt}"`, "create_time")).toEqual(NAMES.slice(3));
    expect(await namesOf(`create_time < "${fourthAt}"`, "create_time")).toEqual(NAMES.slice(0, 3));
  });

  it.each([
    { query: { filter: "' OR 1=1 --" }, reason: "FILTER_INVALID", field: "filter" },
    { query: { filter: "(a+)+$" }, reason: "FILTER_INVALID", field: "filter" },
    { query: { orderBy: "secret" }, reason: "ORDER_INVALID", field: "order_by" },
  ])("by $query is refused: $reason", async ({ query, reason, field }) => {
    const answer = await refusal(environments().listEnvironments(query));
    expect(answer).toMatchObject({ code: "InvalidArgument", reason, fields: [field] });
  });

  it("goes on with its token only as it was asked", async () => {
    const page = await environments().listEnvironments({ orderBy: "create_time", pageSize: 2 });
    const { nextPageToken: pageToken } = page;
    const other = environments().listEnvironments({ orderBy: "name", pageSize: 2, pageToken });
    expect(await refusal(other)).toMatchObject({ code: "InvalidArgument" });
    const filtered = { orderBy: "create_time", filter: 'name : "a"', pageSize: 2, pageToken };
    const narrowed = environments().listEnvironments(filtered);
    expect(await refusal(narrowed)).toMatchObject({ code: "InvalidArgument" });
  });

  it("shows a tenant no more by a filter than without one", async () => {
    const tenants = hub().client(TenantService, hub().tokens.acmeOwner);
    const all = await tenants.listTenants({ filter: 'name : "o"', orderBy: "create_time desc" });
    expect(all.tenants).toEqual([]);
  });
});
