/** What the commands about actions and rehearsals ask for, print, and end with. */
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import {
  ActionStatus,
  type CreateActionRequest,
} from "@holdfast/proto/holdfast/api/v1/action_pb.js";
import type { RehearseInstanceRequest } from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { ActionKind, StepClass } from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { refusal, TestHub, TOKEN } from "./hub.fixture.ts";
import { TestTerminal } from "./terminal.fixture.ts";

let hub: TestHub;
let user: TestTerminal;

beforeEach(async () => {
  hub = await TestHub.start();
  user = new TestTerminal();
  user.useHub(hub.api, TOKEN);
});
afterEach(() => hub.stop());

const ID = "act_01980000000070008000000000000001";

/** Its answers one after the other; the last one stays. */
function becoming(...answers: readonly object[]) {
  const asked: CreateActionRequest[] = [];
  let turn = 0;
  const made = {
    ...{ id: ID, instance: "orders", tenant: "acme", kind: ActionKind.RESTART },
    principal: "member/owner",
    createTime: timestampFromMs(Date.now() - 120_000),
  };
  hub.actions = {
    createAction: (request) => {
      asked.push(request);
      return { ...made, status: ActionStatus.PENDING };
    },
    getAction: () => ({ ...made, ...answers[Math.min(turn++, answers.length - 1)] }),
    listActions: ({ pageToken }) =>
      pageToken === ""
        ? { actions: [{ ...made, ...answers[0] }], nextPageToken: "2" }
        : { actions: [{ ...made, id: `${ID}2`, status: ActionStatus.PENDING }] },
  };
  return asked;
}

describe("instance restart", () => {
  it("asks once and returns", async () => {
    const asked = becoming();
    const { code, out, err } = await user.run(
      ...["instance", "restart", "orders", "--resource", "worker", "--ttl", "1h"],
    );
    expect([code, err]).toEqual([0, ""]);
    expect(out).toMatch(
      /^ID +INSTANCE .*\nact_\S+ +orders +acme +restart +pending +2m ago +member\/owner\n$/,
    );
    expect(asked).toMatchObject([
      { instance: "orders", resource: "worker", ttl: { seconds: 3600n } },
    ]);
    expect(asked[0]?.requestId).toMatch(/^[0-9a-f-]{36}$/);
  });

  it("has a sister that runs one job", async () => {
    const done = { status: ActionStatus.DONE, reason: "JOB_RUN", message: "backup: ended with 0" };
    const asked = becoming(done);
    const { code, out } = await user.run("instance", "run-job", "orders", "backup", "--wait");
    expect(code).toBe(0);
    expect(out).toMatch(/done .* backup: ended with 0\n$/);
    expect(asked).toMatchObject([{ instance: "orders", resource: "backup", kind: 3 }]);
    expect((await user.run("instance", "run-job", "orders")).code).toBe(2);
  });

  it("waits for the end with --wait", async () => {
    const done = {
      status: ActionStatus.DONE,
      reason: "RESTARTED",
      message: "worker: another copy serves",
    };
    becoming({ status: ActionStatus.PENDING }, { status: ActionStatus.SENT }, done);
    const { code, out } = await user.run("instance", "restart", "orders", "--wait");
    expect(code).toBe(0);
    expect(out).toMatch(/done .* worker: another copy serves\n$/);
  });

  it.each([
    [
      { status: ActionStatus.FAILED, reason: "NOT_READY", message: "worker: says no" },
      5,
      "failed: worker: says no",
    ],
    [
      { status: ActionStatus.REFUSED, reason: "CONSENT_VETOED", message: "1.1: quiet: never" },
      9,
      "refused: 1.1: quiet: never",
    ],
    [
      { status: ActionStatus.EXPIRED, reason: "EXPIRED", message: "not begun" },
      5,
      "expired: not begun",
    ],
  ])("ends with %o as exit %i", async (end, exit, says) => {
    becoming(end);
    const { code, err } = await user.run("instance", "restart", "orders", "--wait");
    expect(code).toBe(exit);
    expect(err).toContain(says);
    expect(err).toContain(`holdfast action show ${ID}`);
  });

  it("names what holds it when the time for waiting is over", async () => {
    becoming({
      status: ActionStatus.SENT,
      reason: "CONSENT_HELD",
      message: "1.1: hours: only at night",
    });
    const { code, err } = await user.run(
      ...["instance", "restart", "orders", "--wait", "--timeout", "1s"],
    );
    expect(code).toBe(6);
    expect(err).toContain("not ended within 1 s; last: 1.1: hours: only at night");
  });
});

describe("action", () => {
  it("lists page by page, with what went wrong", async () => {
    becoming({ status: ActionStatus.FAILED, reason: "NOT_READY", message: "no" });
    const { out } = await user.run("action", "list", "orders");
    expect(out.split("\n")).toHaveLength(4);
    expect(out).toMatch(/failed +2m ago +member\/owner +NOT_READY: no/);
    const { out: json } = await user.run("action", "list", "-o", "json");
    expect(JSON.parse(json).actions).toHaveLength(2);
  });

  it("retries, and shows one by its id", async () => {
    const asked = becoming({ status: ActionStatus.DONE, message: "it may begin again" });
    expect((await user.run("action", "retry", "orders", "-o", "name")).out).toBe(`action/${ID}\n`);
    expect(asked[0]?.kind).toBe(ActionKind.RETRY);
    const { out } = await user.run("action", "show", ID, "-o", "yaml");
    expect(out).toContain("status: ACTION_STATUS_DONE");
  });
});

describe("rehearse", () => {
  const step = {
    id: "worker/start",
    resource: "worker",
    verb: "start",
    summary: "start worker of 1.1.0",
  };
  const answer = {
    instance: { metadata: { name: "orders" } },
    cell: "eu",
    steps: [
      { ...step, stepClass: StepClass.REVERSIBLE },
      { ...step, stepClass: StepClass.COMPENSABLE, summary: "stop the old worker first" },
    ],
  };

  it("shows what a release would change, of the instance as it is", async () => {
    hub.putInstance("orders");
    const asked: RehearseInstanceRequest[] = [];
    hub.actions = {
      rehearseInstance: (request) => {
        asked.push(request);
        const notAtomic = ["worker: no service for a moment"];
        const missing = ["artefact worker: 10 bytes"];
        return { ...answer, missing, notAtomic, stepsDigest: "sha256:bb" };
      },
    };
    const { code, out } = await user.run("rehearse", "orders", "--release", "1.1.0");
    expect(code).toBe(0);
    expect(out).toBe(`instance/orders would change in cell eu
  would start worker of 1.1.0
  would stop the old worker first (compensable)
  not without a gap: worker: no service for a moment
  missing: artefact worker: 10 bytes
  steps sha256:bb
`);
    expect(asked[0]?.instance).toMatchObject({
      metadata: { name: "orders", tenant: "acme" },
      spec: { release: "1.1.0", plan: "pro", cell: "eu" },
    });
    expect(asked[0]?.instance?.status).toBeUndefined();
  });

  it("of a manifest ends with 9 where a rule would hold it", async () => {
    hub.actions = {
      rehearseInstance: () => ({ ...answer, isNew: true, holds: ["1.2: hours: no"] }),
    };
    const path = user.file(
      "i.yaml",
      `apiVersion: holdfast/v1
kind: Instance
metadata: {name: orders, tenant: acme}
spec: {product: etl, release: 1.1.0, plan: pro, cell: eu}
`,
    );
    const { code, out, err } = await user.run("rehearse", "-f", path);
    expect(code).toBe(9);
    expect(out).toMatch(/^instance\/orders would be created in cell eu\n/);
    expect(out).toContain("  held by 1.2: hours: no\n");
    expect(err).toContain("the customer's rules would hold it: 1.2: hours: no");
  });

  it("needs one of a file and an instance, and an agent", async () => {
    expect((await user.run("rehearse")).code).toBe(2);
    expect((await user.run("rehearse", "orders")).code).toBe(2);
    hub.putInstance("orders");
    hub.failing = refusal(Code.FailedPrecondition, "NO_AGENT", "cell eu: no agent has joined it");
    const { code, err } = await user.run("rehearse", "orders", "--release", "1.1.0");
    expect(code).toBe(5);
    expect(err).toContain("no agent has joined it");
  });
});
