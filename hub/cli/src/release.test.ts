/** Publishing: what is signed and uploaded, where an upload goes on, and what never leaves this machine. */
import { existsSync, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
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

const file = (name: string, text: string) => user.file(name, text);

describe("release publish", () => {
  const BLUEPRINT = `
apiVersion: holdfast/v1
kind: Blueprint
product: etl
version: 1.0.0
number: 1
artefacts: [{name: worker, path: dist}]
resources: [{id: worker, kind: process, spec: {artefact: worker, argv: [node, worker.mjs]}}]
`;

  beforeEach(async () => {
    mkdirSync(join(user.directory, "dist"));
    file("dist/worker.mjs", "// worker\n".repeat(200_000));
    file("blueprint.yaml", BLUEPRINT);
    expect((await user.run("release", "key", "create", "--out", "release.pem")).code).toBe(0);
    expect((await user.run("key", "set", "--key", "release.pem")).out).toMatch(
      /^PURPOSE.*\nrelease +1 /,
    );
  });

  const publish = () =>
    user.run("release", "publish", "-f", "blueprint.yaml", "--key", "release.pem");

  it("signs, uploads in parts and publishes; a second time the artefact is there already", async () => {
    const first = await publish();
    expect(first).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^release\/etl-1\.0\.0 published {2}sha256:/),
    });
    expect(hub.requests.filter((each) => each === "UploadArtefact").length).toBeGreaterThan(1);
    const second = await publish();
    expect(second.err).toContain("the hub has it");
    expect(second.out).toBe(first.out);
  });

  it("goes on where an upload broke off", async () => {
    hub.partBytesMax = 300_000;
    expect((await publish()).code).toBe(0);
    expect(hub.published).toEqual(["etl-1.0.0"]);
  });

  it("makes the key readable by its owner only, and never replaces it", async () => {
    expect(statSync(join(user.directory, "release.pem")).mode & 0o777).toBe(0o600);
    expect((await user.run("release", "key", "create", "--out", "release.pem")).code).toBe(5);
  });

  it("registers the next key only with a present one's signature", async () => {
    await user.run("release", "key", "create", "--out", "next.pem");
    expect((await user.run("key", "set", "--key", "next.pem")).code).not.toBe(0);
    const { out } = await user.run("key", "set", "--key", "next.pem", "--sign-with", "release.pem");
    expect(out).toMatch(/release +2 /);
  });

  it("refuses a bad blueprint before anything is sent", async () => {
    file("blueprint.yaml", BLUEPRINT.replace("[node, worker.mjs]", '"node worker.mjs && id"'));
    hub.requests.length = 0;
    const { code, err } = await publish();
    expect([code, hub.requests]).toEqual([2, []]);
    expect(err).toContain("resources[0].spec.argv: a command as text; got node worker.mjs && id");
  });

  it.each([
    ["[node, wrker.mjs]", "argv[1]: got wrker.mjs; in artefact worker there is no such file"],
    ["[bin/run]", "argv[0]: got bin/run; in artefact worker there is no such file"],
    ["[worker.mjs]", "argv[0]: got worker.mjs; in artefact worker it may not be executed"],
  ])("refuses %s, which is not in the artefact, before anything is sent", async (argv, says) => {
    file("blueprint.yaml", BLUEPRINT.replace("[node, worker.mjs]", argv));
    hub.requests.length = 0;
    const { code, err } = await publish();
    expect([code, hub.requests]).toEqual([2, []]);
    expect(err).toContain(`PROGRAM_MISSING: resources.worker.spec.${says}`);
  });

  it("refuses a missing artefact and a link in one", async () => {
    file("blueprint.yaml", BLUEPRINT.replace("dist", "build"));
    expect(await publish()).toMatchObject({
      code: 2,
      err: expect.stringContaining("no such file (ENOENT)"),
    });
    expect(existsSync(join(user.directory, "build"))).toBe(false);
  });
});
