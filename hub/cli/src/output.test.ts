/** `holdfast instance output`: what is printed, how it is gone on with, and how it ends. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import type {
  WatchOutputRequest,
  WatchOutputResponseSchema,
} from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { refusal, TestHub, TOKEN } from "./hub.fixture.ts";
import { TestTerminal } from "./terminal.fixture.ts";

type Answer = MessageInitShape<typeof WatchOutputResponseSchema>;

const T0 = Date.parse("2026-11-20T08:00:00.123Z");
let hub: TestHub;
let user: TestTerminal;
let asked: WatchOutputRequest[];

beforeEach(async () => {
  hub = await TestHub.start();
  user = new TestTerminal();
  user.useHub(hub.api, TOKEN);
  asked = [];
});
afterEach(() => hub.stop());

/** What each call is answered with, in turn; a code breaks the stream. */
function answering(...calls: readonly (readonly (Answer | Code)[])[]): void {
  async function* watchOutput(request: WatchOutputRequest) {
    asked.push(request);
    for (const answer of calls[asked.length - 1] ?? []) {
      if (typeof answer === "number") throw refusal(answer, "AGENT_OFFLINE", "it is away");
      yield answer;
    }
  }
  hub.actions = { watchOutput };
}

const line = (n: number, text: string, step = "worker/start") => ({
  ...{ time: timestampFromMs(T0 + n), step, text },
});

describe("output", () => {
  it("is what there is, with what is missing on the side and whether it goes on", async () => {
    answering([
      { attempt: 3n, lost: 1_204n, lines: [line(0, "first"), line(1, "second \u001b[2J")] },
      { attempt: 3n, lines: [line(2, "third", "m/run")] },
    ]);
    const flags = ["--attempt", "3", "--step", "worker", "--tenant", "acme"];
    const { code, out, err } = await user.run("instance", "output", "etl", ...flags);
    expect(code).toBe(0);
    expect(out).toBe(
      "2026-11-20 08:00:00.123  worker/start  first\n" +
        "2026-11-20 08:00:00.124  worker/start  second \\u001b[2J\n" +
        "2026-11-20 08:00:00.125  m/run  third\n",
    );
    expect(err).toBe(
      "-- 1,204 lines before these are not kept any more\nit goes on; -f stays with it\n",
    );
    const about = { instance: "etl", tenant: "acme", attempt: 3n, step: "worker", follow: false };
    expect(asked[0]).toMatchObject(about);
  });

  it("in JSON is one object", async () => {
    answering([{ attempt: 3n, lost: 2n, lines: [line(0, "first")], ended: true }]);
    const { out, err } = await user.run("instance", "output", "etl", "-o", "json");
    expect(JSON.parse(out)).toMatchObject({ attempt: "3", lost: "2", ended: true });
    expect(JSON.parse(out).lines).toMatchObject([{ step: "worker/start", text: "first" }]);
    expect(err).toBe("");
  });

  it("is followed over a broken link from where it was, to the end of the attempt", async () => {
    answering(
      [{ attempt: 3n, lines: [line(0, "first")], pageToken: "here" }, Code.Unavailable],
      [{ attempt: 3n, lines: [line(1, "second")], pageToken: "there", ended: true }],
    );
    const { code, out, err } = await user.run("instance", "output", "etl", "-f");
    expect(code).toBe(0);
    expect(out.split("\n").map((each) => each.split("  ").at(-1))).toEqual(["first", "second", ""]);
    expect(err).toContain("it is away; trying again");
    expect(asked.map(({ pageToken, follow }) => [pageToken, follow])).toEqual([
      ["", true],
      ["here", true],
    ]);
  });

  it("that cannot be had is an error at once, also when it was to be followed", async () => {
    answering([Code.Unavailable]);
    const { code, err } = await user.run("instance", "output", "etl", "-f");
    expect(code).not.toBe(0);
    expect(err).toContain("AGENT_OFFLINE: it is away");
    expect(asked).toHaveLength(1);
  });

  it("refuses what makes no sense together", async () => {
    const both = await user.run("instance", "output", "etl", "--attempt", "1", "--last-action");
    expect(both).toMatchObject({ code: 2 });
    expect(both.err).toContain("an action is no attempt");
    const named = await user.run("instance", "output", "etl", "-o", "name");
    expect(named.err).toContain("allowed: table, json or yaml");
    expect((await user.run("instance", "output", "etl", "--attempt", "0")).code).toBe(2);
  });
});
