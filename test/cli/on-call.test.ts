/**
 * The command line at the real hub and database: what one asks and does on call. Nothing of the hub is replaced; an
 * agent is played by the use cases of the link.
 */
import { execFileSync } from "node:child_process";
import { TestTerminal } from "@holdfast/cli/src/terminal.fixture.ts";
import { useTestHub } from "@holdfast/hub/src/testing-hub.ts";
import { offerProduct } from "@holdfast/hub/src/testing-product.ts";
import { InstanceService } from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { beforeAll, describe, expect, it } from "vitest";

const hub = useTestHub();

/** A person with a token of the hub, in a directory of its own. */
function userOf(token: string): TestTerminal {
  const user = new TestTerminal();
  user.useHub(`http://${hub().address}`, token);
  return user;
}

const owner = () => userOf(hub().tokens.owner);
const instanceManifest = (release: string, extra = "") => `
apiVersion: holdfast/v1
kind: Instance
metadata: {name: etl, tenant: acme}
spec: {product: etl, release: ${release}, plan: pro, subscription: etl, cell: acme-cell, runState: running, parameters: {source: s${extra}}}
`;

beforeAll(async () => {
  await offerProduct(hub());
  const user = owner();
  const made = await user.run(
    ...["subscription", "create", "etl", "--plan", "pro"],
    "--tenant",
    "acme",
  );
  expect(made).toMatchObject({ code: 0, out: "subscription/etl created\n" });
  user.file("etl.yaml", instanceManifest("1.0.0"));
  expect((await user.run("apply", "-f", "etl.yaml")).code).toBe(0);
});

describe("diff", () => {
  it("says field by field what apply would change, ends with 10, and changes nothing", async () => {
    const user = owner();
    user.file("etl.yaml", instanceManifest("1.1.0", "2"));
    for (const _ of [1, 2]) {
      expect(await user.run("diff", "-f", "etl.yaml")).toMatchObject({
        code: 10,
        out:
          "instance/etl of tenant acme: changed\n" +
          "  spec.parameters.source: s -> s2\n  spec.release: 1.0.0 -> 1.1.0\n",
      });
    }
    user.file("same.yaml", instanceManifest("1.0.0"));
    const same = await user.run("diff", "-f", "same.yaml");
    expect(same).toMatchObject({ code: 0, out: "", err: "no differences\n" });
    const [item] = JSON.parse((await user.run("diff", "-f", "etl.yaml", "-o", "json")).out).items;
    expect(item).toMatchObject({ name: "etl", verdict: "changed", judged: true });
    expect(item.changes).toContainEqual({
      path: "spec.release",
      before: "1.0.0",
      after: "1.1.0",
      hidden: false,
    });
  });

  it("hides values where the caller may not know which are secret", async () => {
    const user = userOf(hub().tokens.acmeOwner);
    user.file("etl.yaml", instanceManifest("1.0.0", "ecretvalue"));
    const { code, out } = await user.run("diff", "-f", "etl.yaml");
    expect([code, out]).toEqual([
      10,
      "instance/etl of tenant acme: changed\n  spec.parameters.source: differs (hidden)\n",
    ]);
  });

  it("tells what is new, also what names something new, and fails where the hub refuses", async () => {
    const user = owner();
    const tenant = "apiVersion: holdfast/v1\nkind: Tenant\nmetadata: {name: hooli}\nspec: {}\n";
    const cell =
      "apiVersion: holdfast/v1\nkind: Cell\nmetadata: {name: c, tenant: hooli}\nspec: {kind: byoa}\n";
    user.file("new.yaml", `${tenant}---\n${cell}`);
    const { code, out } = await user.run("diff", "-f", "new.yaml");
    expect(code).toBe(10);
    expect(out).toContain("tenant/hooli: new\n");
    expect(out).toContain("cell/c of tenant hooli: new, not judged by the hub yet");
    user.file("bad.yaml", instanceManifest("9.9.9"));
    expect((await user.run("diff", "-f", "bad.yaml")).code).toBe(3);
    expect((await user.run("diff", "-f", "nothing.yaml")).code).toBe(2);
  });
});

describe("instance", () => {
  it("stop, start and resize change one part and leave the others", async () => {
    const user = owner();
    expect((await user.run("instance", "stop", "etl", "--dry-run=server")).out).toBe(
      "instance/etl changed (dry run)\n  spec.runState: running -> stopped\n",
    );
    expect((await user.run("instance", "stop", "etl")).out).toContain("running -> stopped\n");
    expect((await user.run("instance", "stop", "etl")).out).toBe("instance/etl unchanged\n");
    expect((await user.run("instance", "start", "etl")).out).toContain("stopped -> running\n");
    const grown = await user.run("instance", "resize", "etl", "--set", "source=t");
    expect(grown.out).toBe("instance/etl changed\n  spec.parameters.source: s -> t\n");
    const wrong = await user.run("instance", "resize", "etl", "--set", "batchRows=7");
    expect([wrong.code, wrong.err]).toEqual([2, expect.stringContaining("parameters.batchRows")]);
    expect((await user.run("instance", "resize", "etl")).code).toBe(2);
    expect((await user.run("instance", "stop", "nobody")).code).toBe(3);
  });

  it("changes by several people at once all count", async () => {
    const ends = await Promise.all([
      owner().run("instance", "resize", "etl", "--set", "source=a"),
      owner().run("instance", "stop", "etl"),
    ]);
    expect(ends.map(({ code, err }) => [code, err])).toEqual([
      [0, ""],
      [0, ""],
    ]);
    const instances = hub().client(InstanceService, hub().tokens.owner);
    const { instance } = await instances.getInstance({ instance: "etl" });
    expect(instance?.spec).toMatchObject({ parameters: { source: "a" }, runState: 2 });
    expect((await owner().run("instance", "start", "etl")).code).toBe(0);
  });

  it("why answers what is wanted, by whom, and what it waits for", async () => {
    const { code, out } = await owner().run("instance", "why", "etl");
    expect(code).toBe(0);
    expect(out).toMatch(/^answer +1\.0\.0 is not there yet$/m);
    expect(out).toMatch(/^because +\S/m);
    expect(out).toMatch(/^wanted +1\.0\.0, generation 1\.\d+, updated .* by member\/owner: /m);
    expect(out).toMatch(/^serves +nothing yet$/m);
    expect(out).toMatch(/^next +holdfast /m);
  });

  it("--wait ends with 6 where nobody answers", async () => {
    const args = ["instance", "start", "etl", "--wait", "--timeout", "300ms"];
    expect((await owner().run(...args)).code).toBe(6);
  });
});

describe("who is affected", () => {
  it("is asked by release and cell, and a slip is no empty answer", async () => {
    const user = owner();
    const names = async (...args: string[]) => (await user.run("get", ...args, "-o", "name")).out;
    expect(await names("instances", "--release", "1.0.0")).toBe("instance/etl\n");
    expect(await names("instances", "--release", "1.0.0", "--cell", "hosted")).toBe("");
    expect((await user.run("get", "instances", "--release", "7")).code).toBe(3);
    const wrong = await user.run("get", "tenants", "--release", "1.0.0");
    expect([wrong.code, wrong.err]).toEqual([2, expect.stringContaining("it narrows instances")]);
    expect((await user.run("get", "instance", "etl", "--cell", "hosted")).code).toBe(2);
  });
});

describe("what changed", () => {
  it("is told newest first with the fields, and without the agents' reports on demand", async () => {
    const user = owner();
    await expect
      .poll(async () => (await user.run("events", "--changes", "--limit", "1")).out)
      .toContain("instance.updated");
    const { out } = await user.run("events", "--changes", "--subject", "instance/etl");
    expect(out).toContain("spec.runState: stopped -> running");
    const times = out.split("\n").map((line) => line.slice(0, 19));
    expect(times).toEqual(times.toSorted().reverse());
    const oldest = JSON.parse((await user.run("events", "--changes", "-o", "json")).out).events[0];
    expect(oldest.type).not.toBe("instance.updated");
    expect((await user.run("events", "--since", "1970-01-01", "--limit", "2")).code).toBe(0);
  });
});

describe("nouns", () => {
  it("make, show, move and delete without a manifest", async () => {
    const user = owner();
    const steps: [string[], number, string][] = [
      [["tenant", "create", "umbrella", "--display-name", "U"], 0, "tenant/umbrella created\n"],
      [["tenant", "create", "umbrella"], 5, ""],
      [["tenant", "create", "-bad-"], 2, ""],
      [["cell", "create", "u1", "--kind", "byoa", "--tenant", "umbrella"], 0, "cell/u1 created\n"],
      [["cell", "create", "u2", "--kind", "moon"], 2, ""],
      [["cell", "list", "--tenant", "umbrella", "-o", "name"], 0, "cell/u1\n"],
      [["cell", "delete", "u1", "--tenant", "umbrella", "--yes"], 0, "cell/u1 deleted\n"],
      [["subscription", "move", "etl", "--tenant", "acme"], 0, "subscription/etl unchanged\n"],
      [["subscription", "move", "etl", "--tenant", "acme", "--plan-version", "9"], 5, ""],
      [["agent", "list", "-o", "name"], 0, ""],
      [["agent", "show", "nobody"], 3, ""],
    ];
    for (const [args, code, out] of steps) {
      expect([args, await user.run(...args)]).toEqual([
        args,
        expect.objectContaining({ code, out }),
      ]);
    }
    expect((await user.run("tenant", "show", "umbrella")).out).toContain("displayName  U");
  });
});

describe("doctor", () => {
  it("finds all well, or says what is not and what to do", async () => {
    const well = await owner().run("doctor", "-o", "name");
    expect(well.out).toMatch(/^context\/OK\nfiles\/OK\nhub\/OK\ntoken\/OK\n/);
    const unknown = await userOf("hft_wrong").run("doctor");
    expect(unknown.code).toBe(1);
    expect(unknown.out).toMatch(/^FAIL +hub +\S/m);
    const away = await new TestTerminal().run("doctor", "--api", "http://127.0.0.1:1");
    expect(away.out).toMatch(/FAIL +hub +HUB_UNREACHABLE/);
    expect(away.err).toBe("next: holdfast context list\n");
    const none = await new TestTerminal().run("doctor");
    expect([none.code, none.out]).toEqual([1, expect.stringContaining("FAIL  context")]);
  });
});

describe("completion", () => {
  const after = async (...words: string[]) =>
    (await owner().run("__complete", "--", ...words)).out
      .split("\n")
      .map((line) => line.split("\t")[0]);

  it("knows commands, options, their words, kinds and the hub's names", async () => {
    expect(await after("instance", "st")).toEqual(["start", "stop", ""]);
    expect(await after("get", "ins")).toEqual(["instance", ""]);
    expect(await after("get", "instance", "e")).toEqual(["etl", ""]);
    expect(await after("get", "instance", "--tenant", "gl")).toEqual(["globex", ""]);
    expect(await after("get", "instance", "-o", "j")).toEqual(["json", ""]);
    expect(await after("apply", "-f", "")).toEqual([":files", ""]);
    expect(await after("instance", "why", "--ten")).toEqual(["--tenant", ""]);
    expect(await after("nonsense", "more", "")).toEqual([""]);
  });

  it("says nothing where the hub cannot be asked", async () => {
    const user = new TestTerminal();
    user.useHub("http://127.0.0.1:1", "hft_x");
    expect(await user.run("__complete", "--", "get", "instance", "")).toEqual({
      ...{ code: 0, out: "", err: "" },
    });
  });

  it("gives bash a script that bash takes", async () => {
    const { out } = await owner().run("completion", "bash");
    expect(execFileSync("bash", ["-n"], { input: out, encoding: "utf8" })).toBe("");
    expect((await owner().run("completion", "csh")).code).toBe(2);
  });
});
