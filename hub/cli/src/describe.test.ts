/** What `holdfast describe` says of where something was put, against a hub in this process. */
import { create } from "@bufbuild/protobuf";
import { CellKind } from "@holdfast/proto/holdfast/api/v1/cell_pb.js";
import { PlacementViewSchema } from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { TestHub, TOKEN } from "./hub.fixture.ts";
import { TestTerminal } from "./terminal.fixture.ts";

let hub: TestHub;
let user: TestTerminal;

beforeEach(async () => {
  hub = await TestHub.start();
  user = new TestTerminal();
  user.useHub(hub.api, TOKEN);
});
afterEach(() => hub.stop());

describe("describe", () => {
  it("says where an instance was placed, and why there", async () => {
    hub.putInstance("a", ({ status }) => {
      const why = { reason: "LEAST_LOADED", message: "least loaded of 3" };
      if (status !== undefined)
        status.placement = create(PlacementViewSchema, { cell: "eu-1", ...why });
    });
    const { out } = await user.run("describe", "instance", "a");
    expect(out).toContain("  placed: cell eu-1, least loaded of 3\n");
  });

  it.each([
    { it: "without bounds", capacity: undefined, says: "3 instances, cpu 9" },
    {
      it: "with bounds",
      capacity: { instancesMax: 20, resources: { cpu: 64n, memory: 8n } },
      says: "3 of 20 instances, cpu 9 of 64, memory 0 of 8",
    },
    {
      it: "with a bound for resources alone",
      capacity: { instancesMax: 0, resources: { cpu: 64n } },
      says: "3 instances, cpu 9 of 64",
    },
  ])("says what a cell $it holds", async ({ capacity, says }) => {
    hub.cell = {
      metadata: { id: "cel_1", name: "eu-1" },
      spec: { kind: CellKind.HOSTED, ...(capacity === undefined ? {} : { capacity }) },
      status: { instances: 3, resourcesUsed: { cpu: 9n } },
    };
    const { out } = await user.run("describe", "cell", "eu-1");
    expect(out).toContain(`  holds: ${says}\n`);
  });
});
