/** What `holdfast describe` says of where something was put, against a hub in this process. */
import { create } from "@bufbuild/protobuf";
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
});
