/** A support bundle at the real hub: what is in it, and that no planted secret is, wherever it was put. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { allowedEvent, allowedObject, scrubbed } from "@holdfast/cli/src/support-allowed.ts";
import { TestTerminal } from "@holdfast/cli/src/terminal.fixture.ts";
import { useTestHub } from "@holdfast/hub/src/testing-hub.ts";
import { offerProduct } from "@holdfast/hub/src/testing-product.ts";
import { beforeAll, describe, expect, it } from "vitest";

const hub = useTestHub();
const PLANTED = "planted5ecret";

function userOf(token: string): TestTerminal {
  const user = new TestTerminal();
  user.useHub(`http://${hub().address}`, token);
  return user;
}

const MANIFEST = `
apiVersion: holdfast/v1
kind: Subscription
metadata: {name: etl, tenant: acme, labels: {team: ${PLANTED}}}
spec: {plan: pro}
---
apiVersion: holdfast/v1
kind: Instance
metadata: {name: etl, tenant: acme, labels: {team: ${PLANTED}}, annotations: {note: ${PLANTED}}}
spec:
  product: etl
  release: 1.0.0
  plan: pro
  subscription: etl
  cell: acme-cell
  runState: running
  parameters: {source: "postgresql://me:${PLANTED}@db/x"}
`;

beforeAll(async () => {
  await offerProduct(hub());
  const user = userOf(hub().tokens.owner);
  user.file("etl.yaml", MANIFEST);
  expect(await user.run("apply", "-f", "etl.yaml")).toMatchObject({ code: 0 });
});

const filesIn = (path: string) =>
  execFileSync("tar", ["tzf", path], { encoding: "utf8" }).trim().split("\n");
const textOf = (path: string) => execFileSync("tar", ["xzOf", path], { encoding: "utf8" });

describe("support-bundle", () => {
  it("holds states and events, and no value that somebody gave", async () => {
    const user = userOf(hub().tokens.owner);
    const made = await user.run("support-bundle", "--yes", "--out", "a.tar.gz");
    expect(made).toMatchObject({ code: 0, out: "a.tar.gz\n" });
    const path = join(user.directory, "a.tar.gz");
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(filesIn(path)).toEqual(
      expect.arrayContaining([
        "holdfast-support/versions.json",
        "holdfast-support/objects/instances.json",
        "holdfast-support/events.json",
      ]),
    );
    const text = textOf(path);
    expect(text).not.toContain(PLANTED);
    expect(text).not.toContain(
      readFileSync(join(user.directory, ".holdfast/token"), "utf8").trim(),
    );
    expect(text).toContain('"spec.parameters": [\n        "source"\n      ]');
    expect(text).toContain('"type": "Connected"');
    expect((await user.run("support-bundle", "--yes", "--out", "a.tar.gz")).code).toBe(5);
  });

  it("shows its contents first, and writes nothing without a yes", async () => {
    const user = userOf(hub().tokens.owner);
    const alone = await user.run("support-bundle", "--out", "b.tar.gz");
    expect(alone.code).toBe(2);
    expect(alone.err).toMatch(/objects\/instances\.json +[\d.]+ (K|M)?i?B +1 instances/);
    user.answer = "n";
    const refused = await user.run("support-bundle", "--out", "b.tar.gz");
    expect([refused.code, user.questions]).toEqual([130, ["Write it? [y/N] "]]);
    expect(existsSync(join(user.directory, "b.tar.gz"))).toBe(false);
  });

  it("holds what the caller may read and no more", async () => {
    const user = userOf(hub().tokens.globexOwner);
    expect((await user.run("support-bundle", "--yes", "--out", "c.tar.gz")).code).toBe(0);
    const path = join(user.directory, "c.tar.gz");
    expect(textOf(path)).not.toMatch(/acme|etl-1\.0\.0/);
    expect(filesIn(path)).not.toContain("holdfast-support/objects/releases.json");
  });
});

describe("what is allowed", () => {
  const secret = { nested: { deep: PLANTED }, list: [PLANTED] };
  const everywhere = {
    metadata: {
      name: "a",
      annotations: { [`k`]: PLANTED },
      labels: { l: PLANTED },
      novel: PLANTED,
    },
    spec: { product: "p", parameters: secret, novel: secret, localSecrets: { a: PLANTED } },
    status: {
      outputs: { url: PLANTED },
      novel: PLANTED,
      conditions: [{ type: "Ready", message: `password=${PLANTED}`, novel: PLANTED }],
      attempt: { message: `Bearer ${PLANTED}`, steps: [{ id: "s", novel: PLANTED }] },
      resources: [{ id: "r", message: `https://u:${PLANTED}@h/`, outputs: { x: PLANTED } }],
    },
  };

  it("of an object are the fields that are named, and nothing that is new", () => {
    const text = JSON.stringify(allowedObject(everywhere));
    expect(text).not.toContain(PLANTED);
    expect(text).toContain('"spec.parameters":["list","nested"]');
  });

  it("of an event are who, what and which fields", () => {
    const event = { id: "evt_1", type: "t", before: everywhere, after: everywhere, novel: PLANTED };
    const text = JSON.stringify(allowedEvent(event));
    expect(text).not.toContain(PLANTED);
    expect(text).toContain("spec.parameters.nested.deep");
  });

  it.each([
    `-----BEGIN PRIVATE KEY-----\n${PLANTED}\n-----END PRIVATE KEY-----`,
    `hft_${PLANTED}`,
    `AGE-SECRET-KEY-1${PLANTED}`,
    `postgresql://me:${PLANTED}@db/x`,
    `authorization: Bearer ${PLANTED}`,
    `DB_PASSWORD="${PLANTED}"`,
    `api_key: ${PLANTED}`,
  ])("of a message is no secret: %s", (message) => {
    const text = String(scrubbed(`before ${message} after`));
    expect(text).not.toContain(PLANTED);
    expect(text).toMatch(/^before .* after$/s);
  });
});
