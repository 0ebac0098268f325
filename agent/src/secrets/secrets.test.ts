/** Sealed secrets at the agent: opened only to be handed over, kept while they may be needed, held for when missing. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import {
  type SecretReference,
  SecretReferenceSchema,
} from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { AttemptState, type InstanceStatus } from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import { digestOf } from "@holdfast/shared/digest.ts";
import { newSealingIdentity, type SealingIdentity, sealSecret } from "@holdfast/shared/sealing.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  AGENT,
  type AgentWorld,
  agentWorld,
  instanceId,
  type RunningAgent,
} from "../reconcile/engine.test-world.ts";
import * as secrets from "../store/secrets.ts";

const RESOURCES = [{ secretFiles: { dsn: `\${secrets.dsn}` } }];
const OTHER_AGENT = `agt_${"2".repeat(32)}`;

let world: AgentWorld;
let agent: RunningAgent;
let sealing: SealingIdentity;

beforeEach(async () => {
  world = await agentWorld();
  agent = world.begin();
  sealing = await newSealingIdentity();
  secrets.putSealingIdentity(agent.store, sealing);
});
afterEach(async () => {
  await agent.end();
  world.dispose();
});

/** The hub has it from now on; what an assignment says of it. */
async function entered(
  version: bigint,
  value: string,
  { recipient = sealing.recipient, instance = instanceId() } = {},
): Promise<SecretReference> {
  const place = { instanceId: instance, name: "dsn", version };
  const sealed = await sealSecret(place, new TextEncoder().encode(value), recipient);
  world.sealed.set(`dsn/${version}`, sealed);
  const sealedDigest = digestOf(sealed);
  return create(SecretReferenceSchema, { name: "dsn", version, sealedDigest, agentId: AGENT });
}

const offer = (number: bigint, ...named: SecretReference[]) =>
  agent.intake.offered(
    world.offerOf({ number, release: 1, resources: RESOURCES, assignment: { secrets: named } }),
  );

const serves = (number: bigint) => (status: InstanceStatus) =>
  status.committedGeneration?.number === number && status.attempt?.state === AttemptState.COMMITTED;
const inSync = (status: InstanceStatus) => status.conditions.find(({ type }) => type === "InSync");
const says = (reason: string) => (status: InstanceStatus) => inSync(status)?.reason === reason;
const versionsHeld = () =>
  agent.store
    .all<{ version: bigint }>("select version from secret order by version limit 10")
    .map(({ version }) => version);

describe("a sealed secret", () => {
  it("is handed to the workload, and stands in no file of the agent and in no status", async () => {
    const named = await entered(1n, "hunter22-canary");
    await offer(1n, named);
    const status = await agent.until(serves(1n));
    expect(agent.driver.handed).toEqual([{ dsn: "hunter22-canary" }]);
    const text = JSON.stringify(status, (_, value) => (typeof value === "bigint" ? "" : value));
    expect(text).not.toContain("hunter22");
    for (const suffix of ["", "-wal"]) {
      const bytes = readFileSync(join(world.stateDir, `agent.db${suffix}`));
      expect(bytes.includes("hunter22")).toBe(false);
    }
  });

  it("that changes is an attempt; the one before is kept until the commit and no longer", async () => {
    await offer(1n, await entered(1n, "first"));
    await agent.until(serves(1n));
    const second = await entered(2n, "second");
    await agent.intake.offered(
      world.offerOf({
        number: 2n,
        release: 2,
        resources: [{ ...RESOURCES[0], mode: "never-ready" }],
        assignment: { secrets: [second] },
      }),
    );
    await agent.until(says("READY_DEADLINE"));
    expect(versionsHeld()).toEqual([1n, 2n]);
    await offer(3n, await entered(3n, "third"));
    await agent.until(serves(3n));
    expect(versionsHeld()).toEqual([3n]);
    expect(agent.driver.handed.map(({ dsn }) => dsn)).toEqual(["first", "second", "third"]);
  });

  it("of the same version with another content is another secret", async () => {
    await offer(1n, await entered(1n, "before a restore of the hub"));
    await agent.until(serves(1n));
    await offer(2n, await entered(1n, "after it"));
    await agent.until(serves(2n));
    expect(agent.driver.handed.at(-1)).toEqual({ dsn: "after it" });
  });

  it("goes with its instance", async () => {
    await offer(1n, await entered(1n, "hunter22"));
    await agent.until(serves(1n));
    await agent.intake.offered(world.offerOf({ number: 2n, tombstone: true }));
    await agent.until(({ removed }) => removed);
    expect(versionsHeld()).toEqual([]);
  });

  it("that cannot be had now is asked for again, and the assignment waits for it", async () => {
    world.link.failingSecrets = 2;
    await offer(1n, await entered(1n, "hunter22"));
    expect(world.link.failingSecrets).toBe(0);
    await agent.until(serves(1n));
    expect(agent.driver.handed).toEqual([{ dsn: "hunter22" }]);
  });
});

describe("a hold", () => {
  it("asks for a secret that was sealed to another agent, and leaves what runs alone", async () => {
    await offer(1n, await entered(1n, "hunter22"));
    await agent.until(serves(1n));
    const before = world.copies();
    const named = await entered(2n, "hunter23");
    await offer(2n, { ...named, agentId: OTHER_AGENT });
    const status = await agent.until(says("SECRET_MISSING"));
    expect(inSync(status)?.message).toBe(
      `secret dsn version 2 is sealed to ${OTHER_AGENT}, not to this agent; holdfast secret set ${instanceId()} dsn`,
    );
    expect(status.attempt?.state).toBe(AttemptState.HELD);
    expect(world.copies()).toEqual(before);
    expect(versionsHeld()).toEqual([1n]);
    await offer(3n, await entered(3n, "entered again"));
    await agent.until(serves(3n));
    expect(agent.driver.handed.at(-1)).toEqual({ dsn: "entered again" });
  });

  it("names the secret that nobody entered, and both ways to enter it", async () => {
    await offer(1n);
    const status = await agent.until(says("SECRET_MISSING"));
    const message = inSync(status)?.message ?? "";
    expect(message).toContain("secret dsn was not entered");
    expect(message).toContain(`holdfast secret set ${instanceId()} dsn`);
    expect(message).toContain(join(world.secretsDir, "dsn"));
    await offer(2n, await entered(1n, "hunter22"));
    await agent.until(serves(2n));
  });

  it.each([
    { it: "does not have", spoil: () => world.sealed.clear() },
    { it: "has swapped", spoil: () => world.sealed.set("dsn/1", new Uint8Array(300)) },
  ])("asks for a secret that the hub $it", async ({ spoil }) => {
    const named = await entered(1n, "hunter22");
    spoil();
    await offer(1n, named);
    const status = await agent.until(says("SECRET_MISSING"));
    expect(inSync(status)?.message).toContain("secret dsn version 1 did not come from the hub");
    expect(versionsHeld()).toEqual([]);
  });
});

describe("an attempt", () => {
  it.each([
    {
      it: "is sealed to another key",
      how: async () => ({ recipient: (await newSealingIdentity()).recipient }),
    },
    { it: "was moved from another instance", how: async () => ({ instance: instanceId(2) }) },
  ])("whose secret $it is returned from before anything is touched", async ({ how }) => {
    // The front changes as well and comes first, so that it would be started before the secret is needed.
    const both = (number: bigint, secret: SecretReference) =>
      agent.intake.offered(
        world.offerOf({
          number,
          resources: [{ id: "front" }, { ...RESOURCES[0], dependsOn: ["front"] }],
          assignment: { secrets: [secret] },
        }),
      );
    await both(1n, await entered(1n, "hunter22"));
    await agent.until(serves(1n));
    const before = world.copies();
    await both(2n, await entered(2n, "hunter23", await how()));
    const status = await agent.until(says("SECRET_UNREADABLE"));
    expect(status.attempt?.state).toBe(AttemptState.RETURNED);
    const { message = "" } = inSync(status) ?? {};
    expect(message).toContain(`enter it again: holdfast secret set ${instanceId()} dsn`);
    expect(message).not.toContain("hunter23");
    expect(world.copies()).toEqual(before);
    expect(agent.driver.orders).toEqual(["front/start", "worker/start"]);
  });

  it("with more secrets than a release may declare is refused", async () => {
    const named = await entered(1n, "hunter22");
    await offer(1n, ...Array.from({ length: 51 }, () => named));
    const status = await agent.until(says("STATE_REFUSED"));
    expect(inSync(status)?.message).toContain("51 secrets; at most 50");
    expect(versionsHeld()).toEqual([]);
  });
});
