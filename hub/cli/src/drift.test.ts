/** What the commands about drift ask for, print, and end with. */
import { create, fromJson, type JsonValue } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import {
  ActionStatus,
  type CreateActionRequest,
} from "@holdfast/proto/holdfast/api/v1/action_pb.js";
import { ActionKind } from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import { DriftPolicy } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { DriftSchema } from "@holdfast/proto/holdfast/model/v1/status_pb.js";
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

const value = (json: JsonValue) => fromJson(ValueSchema, json);
const pids = (adopted: boolean) => ({
  ...{ resource: "worker", path: "limits.pids", adopted },
  ...{ desired: value(64), applied: value(64), live: value("none") },
});

function drifted(...differences: readonly ReturnType<typeof pids>[]): void {
  hub.putInstance("a", ({ status }) => {
    if (status === undefined) return;
    const policy = DriftPolicy.REVERT;
    status.drift = create(DriftSchema, { policy, differences: [...differences], leftOut: 0 });
  });
}

describe("drift show", () => {
  it("puts desired, applied and live side by side, and ends with 10", async () => {
    drifted(pids(false));
    const { code, out, err } = await user.run("drift", "show", "a");
    expect(out).toBe(
      "RESOURCE  FIELD        DESIRED  APPLIED  LIVE\nworker    limits.pids       64       64  none\n",
    );
    expect([code, err]).toEqual([10, "policy: revert\n"]);
    expect((await user.run("describe", "instance", "a")).out).toMatch(
      /^Drift\n {2}RESOURCE .*\n {2}worker +limits\.pids +64 +64 +none\n/m,
    );
  });

  it("ends with 0 where somebody has accepted it, and where nothing differs", async () => {
    drifted(pids(true));
    const accepted = await user.run("drift", "show", "a");
    expect([accepted.code, accepted.out]).toEqual([0, expect.stringMatching(/none +accepted\n$/)]);
    drifted();
    const none = await user.run("drift", "show", "a");
    expect([none.code, none.out, none.err]).toEqual([
      ...[0, "", "nothing differs from what was applied\n"],
    ]);
  });

  it("gives programs the same as JSON", async () => {
    drifted(pids(false));
    const { code, out } = await user.run("drift", "show", "a", "-o", "json");
    expect(code).toBe(10);
    expect(JSON.parse(out)).toMatchObject({
      policy: "DRIFT_POLICY_REVERT",
      differences: [{ path: "limits.pids", applied: 64, live: "none" }],
    });
  });

  it("says where nobody has looked yet", async () => {
    hub.putInstance("a", () => undefined);
    const { code, err } = await user.run("drift", "show", "a");
    expect([code, err]).toEqual([0, "its agent has not compared it since the last commit\n"]);
  });
});

it.each([
  ["revert", ActionKind.REVERT_DRIFT],
  ["adopt", ActionKind.ADOPT_DRIFT],
] as const)("drift %s asks for an action, once", async (verb, kind) => {
  const asked: CreateActionRequest[] = [];
  hub.actions = {
    createAction: (request) => {
      asked.push(request);
      return { id: "act_1", instance: "a", kind, status: ActionStatus.PENDING };
    },
    getAction: () => ({ id: "act_1", instance: "a", kind, status: ActionStatus.DONE }),
    listActions: () => ({ actions: [] }),
  };
  const { code, out } = await user.run("drift", verb, "a", "--resource", "worker", "--wait");
  expect([code, out]).toEqual([0, expect.stringContaining(`${verb}_drift`)]);
  expect(asked).toMatchObject([{ instance: "a", kind, resource: "worker" }]);
});
