/** What the commands print and how they end, against a hub in this process. */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { ConditionViewSchema, type Instance } from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { AttemptSchema, AttemptState } from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import { parseYamlDocuments } from "@holdfast/shared/yaml.ts";
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

/** For what a command is to say by itself: as long as its own timeout. */
const WAITING = { interval: 20 };

const file = (name: string, text: string) => user.file(name, text);

const INSTANCE = `
apiVersion: holdfast/v1
kind: Instance
metadata: {name: etl-pro, tenant: acme}
spec: {product: etl, release: 1.1.0, plan: pro, cell: eu, runState: running}
`;

/** A newer generation is wanted, and this became of the attempt. */
function attempted(state: AttemptState, allowed = "True") {
  return ({ status }: Instance): void => {
    if (status === undefined) return;
    status.generation = { $typeName: "holdfast.model.v1.Generation", incarnation: 1n, number: 2n };
    status.attempt = create(AttemptSchema, {
      generation: { incarnation: 1n, number: 2n },
      releaseVersion: "1.2.0",
      state,
      reason: "NOT_READY",
      message: "no answer at /healthz",
      steps: [{ id: "worker/start", summary: "start worker", state: 4, durationMs: 3400n }],
    });
    status.conditions.push(
      create(ConditionViewSchema, {
        type: "Allowed",
        status: allowed,
        reason: "WINDOW",
        message: "",
      }),
    );
  };
}

describe("get", () => {
  it("lists over all pages, problems first, with their reason", async () => {
    hub.putInstance("a");
    hub.putInstance("z", ({ status }) => {
      const condition = {
        type: "Ready",
        status: "False",
        reason: "CRASHED",
        message: "exit code 1",
      };
      if (status) status.conditions = [create(ConditionViewSchema, condition)];
    });
    const { code, out, err } = await user.run("get", "instances");
    expect([code, err]).toEqual([0, ""]);
    const lines = out.split("\n");
    expect(lines[0]).toMatch(/^NAME +TENANT +CELL +PLAN +RELEASE +STATE +AGE +WHY$/);
    expect(lines[1]).toMatch(/^z +acme +eu +pro +1\.0\.0 +NotReady +2h +CRASHED: exit code 1$/);
    expect(lines[2]).toMatch(/^a +acme +eu +pro +1\.0\.0 +Ready +2h$/);
  });

  it("shows what serves and what is on its way", async () => {
    hub.putInstance("a", ({ spec }) => {
      if (spec) spec.release = "1.1.0";
    });
    expect((await user.run("get", "ins", "a")).out).toContain("1.0.0 -> 1.1.0");
  });

  it("gives JSON with conditions as the words True, False and Unknown", async () => {
    hub.putInstance("a");
    const one = JSON.parse((await user.run("get", "instance", "a", "-o", "json")).out);
    expect(one).toMatchObject({
      apiVersion: "holdfast/v1",
      kind: "Instance",
      metadata: { name: "a" },
      status: { conditions: [{ type: "Ready", status: "True" }] },
    });
    const list = JSON.parse((await user.run("get", "instance", "-o", "json")).out);
    expect(list).toMatchObject({ kind: "InstanceList", items: [{ metadata: { name: "a" } }] });
  });

  it("gives YAML that apply takes back, and names that are one to a line", async () => {
    hub.putInstance("a");
    hub.putInstance("b");
    const { out } = await user.run("get", "instances", "-o", "yaml");
    expect(parseYamlDocuments(out, "x")).toHaveLength(2);
    const again = await user.run("apply", "-f", file("again.yaml", out));
    expect(again).toMatchObject({ code: 0, out: "instance/a unchanged\ninstance/b unchanged\n" });
    expect((await user.run("get", "instances", "-o", "name")).out).toBe("instance/a\ninstance/b\n");
  });

  it("says that there are none on stderr only", async () => {
    expect(await user.run("get", "instances")).toEqual({ code: 0, out: "", err: "no instances\n" });
  });

  it("ends with 3 and the list to look at for what is not there", async () => {
    expect(await user.run("get", "instance", "nope")).toEqual({
      code: 3,
      out: "",
      err: "error: NOT_FOUND INSTANCE_NOT_FOUND: there is no instance nope\nnext: holdfast get instance\n",
    });
  });
});

describe("failures of the hub", () => {
  it("end with 4 if the token is not known", async () => {
    const wrong = file("wrong", "hft_other");
    const { code, err } = await user.run("get", "instances", "--token-file", wrong);
    expect(code).toBe(4);
    expect(err).toContain("error: UNAUTHENTICATED TOKEN_INVALID: the token is not known\nnext: ");
  });

  it("end with 4 and whoami if it is not allowed", async () => {
    hub.failing = refusal(Code.PermissionDenied, "PERMISSION_MISSING", "instance.list is needed");
    const { code, err } = await user.run("get", "instances");
    expect([code, err.split("\n").at(-2)]).toEqual([4, "next: holdfast whoami"]);
  });

  it("end with 8 in one sentence if nobody listens", async () => {
    await hub.stop();
    const { code, err } = await user.run("get", "instances");
    expect(code).toBe(8);
    expect(err).toMatch(
      /^error: UNAVAILABLE HUB_UNREACHABLE: the hub at http:\/\/127\.0\.0\.1:\d+ cannot be reached: nothing listens there \(ECONNREFUSED\)\nnext: holdfast context list\n$/,
    );
    hub = await TestHub.start();
  });

  it("are tried again if a read found the hub unavailable, and only then", async () => {
    hub.failing = refusal(Code.Unavailable, "STARTING", "the hub is starting");
    expect((await user.run("get", "instances")).code).toBe(8);
    expect(hub.requests).toEqual(["ListInstances", "ListInstances", "ListInstances"]);
    hub.requests.length = 0;
    expect((await user.run("delete", "instance", "a", "--yes")).code).toBe(8);
    expect(hub.requests).toEqual(["DeleteInstance"]);
  });

  it("never put control characters of the hub on the terminal", async () => {
    hub.failing = refusal(Code.Internal, "ODD", "a\u001b[31mb");
    expect((await user.run("get", "instances")).err).toContain("a\\u001b[31mb");
  });
});

describe("apply", () => {
  it("creates, changes and leaves alone, and says which", async () => {
    const path = file("etl.yaml", INSTANCE);
    expect((await user.run("apply", "-f", path)).out).toBe("instance/etl-pro created\n");
    expect((await user.run("apply", "-f", path)).out).toBe("instance/etl-pro unchanged\n");
    const newer = file("newer.yaml", INSTANCE.replace("1.1.0", "1.2.0"));
    const expected = "instance/etl-pro changed\n  spec.release: 1.1.0 -> 1.2.0\n";
    const dry = expected.replace("changed", "changed (dry run)");
    expect((await user.run("apply", "-f", newer, "--dry-run=server")).out).toBe(dry);
    expect((await user.run("apply", "-f", newer)).out).toBe(expected);
  });

  it("reads standard input, and several files in the order in which references resolve", async () => {
    user.stdin = INSTANCE;
    const tenant = "apiVersion: holdfast/v1\nkind: Tenant\nmetadata: {name: acme}\n";
    const { out } = await user.run(
      "apply",
      "-f",
      "-",
      "-f",
      file("tenant.yaml", tenant),
      "-o",
      "name",
    );
    expect(out).toBe("tenant/acme\ninstance/etl-pro\n");
  });

  it("shows what the hub refuses with its place", async () => {
    const { code, err } = await user.run(
      "apply",
      "-f",
      file("x.yaml", INSTANCE.replace("1.1.0", "9.9.9")),
    );
    expect(code).toBe(2);
    expect(err).toBe(
      "error: INVALID_ARGUMENT INSTANCE_INVALID: spec.release: there is no release 9.9.9 of etl\nnext: holdfast apply -f x.yaml --dry-run=server\n",
    );
  });

  it("waits until the new generation serves", async () => {
    const path = file("etl.yaml", INSTANCE);
    hub.putInstance("etl-pro", attempted(AttemptState.RUNNING));
    user.answer = "";
    const running = user.run("apply", "-f", path, "--wait", "--timeout", "20s");
    await expect.poll(() => user.err, WAITING).toContain("no answer at /healthz");
    hub.putInstance("etl-pro", ({ status }) => {
      const number = {
        $typeName: "holdfast.model.v1.Generation",
        incarnation: 1n,
        number: 2n,
      } as const;
      if (status) Object.assign(status, { generation: number, committedGeneration: number });
    });
    const { code, err } = await running;
    expect(code).toBe(0);
    expect(err).toContain("instance/etl-pro: serves\n");
  });
});

describe("wait", () => {
  it.each([
    ["7 if the attempt was rolled back", attempted(AttemptState.RETURNED), 7, "ROLLED_BACK"],
    ["1 if there was no way back", attempted(AttemptState.PARTIAL), 1, "PARTIAL"],
    [
      "9 if the customer's rules hold it",
      attempted(AttemptState.HELD, "False"),
      9,
      "HELD_BY_CONSENT",
    ],
    ["5 if the agent refused it", attempted(AttemptState.REFUSED), 5, "STATE_REFUSED"],
    ["6 if it takes too long", attempted(AttemptState.RUNNING), 6, "WAIT_TIMEOUT"],
    ["6 if it is held for another reason", attempted(AttemptState.HELD), 6, "WAIT_TIMEOUT"],
  ])("ends with %s", async (_, change, code, reason) => {
    hub.putInstance("a", change);
    const ran = await user.run("wait", "instance", "a", "--for", "Ready", "--timeout", "300ms");
    expect(ran.code).toBe(code);
    expect(ran.err).toContain(` ${reason}: instance/a: `);
    expect(ran.err).toContain("NOT_READY: no answer at /healthz");
    expect(ran.err.trimEnd().split("\n").at(-1)).toBe("next: holdfast describe instance a");
  });

  it("ends with 0 once the condition is there, and once the object is gone", async () => {
    hub.putInstance("a");
    expect((await user.run("wait", "instance", "a", "--for", "Ready=true")).out).toBe(
      "instance/a Ready=true\n",
    );
    expect((await user.run("wait", "instance", "b", "--for", "delete")).out).toBe(
      "instance/b gone\n",
    );
  });

  it("takes several conditions, one after the other, within one timeout", async () => {
    hub.putInstance("a");
    const both = await user.run("wait", "instance", "a", "--for", "Ready", "--for", "Ready=true");
    expect(both.out).toBe("instance/a Ready\ninstance/a Ready=true\n");
    const ran = await user.run(
      ...["wait", "instance", "a", "--for", "Ready", "--for", "Ready=False", "--timeout", "300ms"],
    );
    expect(ran).toMatchObject({ code: 6, out: "instance/a Ready\n" });
  });

  it("goes on while the hub is away for a moment, but does not begin without one", async () => {
    hub.putInstance("a", attempted(AttemptState.RUNNING));
    user.answer = "";
    const running = user.run("wait", "instance", "a", "--for", "Ready", "--timeout", "20s");
    await expect.poll(() => user.err, WAITING).toContain("no answer at /healthz");
    hub.failing = refusal(Code.Unavailable, "STOPPING", "the hub is stopping");
    await expect.poll(() => user.err, WAITING).toContain("still waiting");
    hub.putInstance("a");
    hub.failing = undefined;
    expect((await running).code).toBe(0);
    hub.failing = refusal(Code.Unavailable, "STOPPING", "the hub is stopping");
    expect((await user.run("wait", "instance", "a", "--for", "Ready")).code).toBe(8);
  });

  it("ends with 3 if there is no such object", async () => {
    expect((await user.run("wait", "instance", "b", "--for", "Ready")).code).toBe(3);
  });

  it("is ended by Ctrl-C with 130", async () => {
    hub.putInstance("a", attempted(AttemptState.RUNNING));
    user.answer = "";
    const running = user.run("wait", "instance", "a", "--for", "Ready");
    await expect.poll(() => user.err, WAITING).toContain("no answer at /healthz");
    user.interrupt.abort();
    expect((await running).code).toBe(130);
  });
});

describe("delete", () => {
  it("asks a person, and does nothing without a yes", async () => {
    hub.putInstance("a");
    user.answer = "n";
    const no = await user.run("delete", "instance", "a");
    expect([no.code, user.questions]).toEqual([130, ["Delete instance/a? [y/N] "]]);
    expect(hub.instances.has("a")).toBe(true);
    user.answer = "y";
    expect(await user.run("delete", "instance", "a", "--wait")).toMatchObject({
      code: 0,
      out: "instance/a is being deleted\n",
      err: "instance/a: gone\n",
    });
  });

  it("does not ask where nobody is, but names the flag", async () => {
    hub.putInstance("a");
    const { code, err } = await user.run("delete", "instance", "a", "--tenant", "acme");
    expect(code).toBe(2);
    expect(err).toContain("next: holdfast delete instance a --tenant acme --yes\n");
    expect(hub.instances.has("a")).toBe(true);
  });

  it("refuses kinds that cannot be deleted", async () => {
    const { code, err } = await user.run("delete", "release", "etl-1.0.0", "--yes");
    expect([code, err]).toEqual([2, expect.stringContaining("a release never changes")]);
  });
});

describe("describe", () => {
  it("fits on one screen and says why", async () => {
    hub.putInstance("a", attempted(AttemptState.RETURNED));
    hub.events = [{ type: "instance.updated", principal: "member/owner", reason: "upgrade" }];
    const { out } = await user.run("describe", "instance", "a");
    expect(out).toContain("instance/a   tenant acme   ins_a\n");
    expect(out).toContain("generation 1.2 wanted, 1.1 serves");
    expect(out).toContain("NOT_READY: no answer at /healthz\n");
    expect(out).toMatch(/worker\/start +failed +3\.4 s +start worker/);
    expect(out).toMatch(/instance\.updated +member\/owner +upgrade/);
    expect(out.split("\n").length).toBeLessThan(40);
  });
});

describe("events", () => {
  it("prints the latest in order, and follows from there", async () => {
    hub.events = [1, 2, 3].map((each) => ({
      id: `evt_${each}`,
      type: `t${each}`,
      subject: "cell/x",
    }));
    const { out } = await user.run("events", "--limit", "2", "-o", "name");
    expect(out).toBe("event/evt_2\nevent/evt_3\n");
    const running = user.run("events", "--follow", "-o", "json", "--limit", "1");
    await expect.poll(() => user.out, WAITING).toContain("evt_live");
    user.interrupt.abort();
    expect((await running).code).toBe(130);
    const lines = user.out
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line).id);
    expect(lines.slice(0, 2)).toEqual(["evt_3", "evt_live"]);
  });
});

describe("usage", () => {
  it("is a table of whole numbers", async () => {
    hub.usage = [
      {
        tenant: "acme",
        meter: "rows",
        unit: "rows",
        seat: "sea_1",
        quantity: 12_345n,
        records: 7n,
      },
    ];
    const { out } = await user.run("usage", "--since", "24h");
    expect(out).toMatch(
      /^TENANT +METER +QUANTITY +UNIT +SEAT +RECORDS +GAPS\nacme +rows +12345 +rows +sea_1 +7 +0\n$/,
    );
  });

  it.each(["yesterday", "5", "2026-13-40"])("refuses --since %s", async (since) => {
    expect(await user.run("usage", "--since", since)).toMatchObject({ code: 2, out: "" });
  });
});

describe("tokens", () => {
  it("go to standard output alone, or to a new file for their owner only", async () => {
    const { out, err } = await user.run("cell", "token", "eu", "--ttl", "2h");
    expect(out).toBe("hfj_eu_7200\n");
    expect(err).not.toContain("hfj_eu");
    const made = await user.run("member", "token", "ci", "--out", "ci.token");
    expect(made.out).toBe("");
    const path = join(user.directory, "ci.token");
    expect([readFileSync(path, "utf8"), statSync(path).mode & 0o777]).toEqual(["hft_ci\n", 0o600]);
    expect((await user.run("member", "token", "ci", "--out", "ci.token")).code).toBe(5);
  });

  it("say who they are for", async () => {
    expect((await user.run("whoami")).out).toBe(
      "member/owner of vendor vendor: owner\nmay: instance.get\n",
    );
  });
});
