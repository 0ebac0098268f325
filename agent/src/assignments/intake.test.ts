/** Bad offers (row 52): each is refused with its own reason, becomes status, and the old version goes on serving. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Offer, OfferSchema } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { AssignmentSchema } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { BlueprintSchema } from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import { EnvelopeSchema } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import {
  FloorSchema,
  KeyPurpose,
  KeySetSchema,
} from "@holdfast/proto/holdfast/model/v1/keys_pb.js";
import { AttemptState } from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import { digestOf } from "@holdfast/shared/digest.ts";
import { signEnvelope, signingKey } from "@holdfast/shared/dsse.ts";
import { idOf } from "@holdfast/shared/ids.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type AgentWorld,
  agentWorld,
  instanceId,
  keySet,
  type RunningAgent,
} from "../reconcile/engine.test-world.ts";
import { VENDOR } from "../reconcile/release.test-world.ts";
import * as assignments from "../store/assignments.ts";
import * as pins from "../store/pins.ts";
import { pinKeySet } from "./pinning.ts";

const stranger = signingKey(new Uint8Array(32).fill(9));
const elsewhere = idOf("cell", "00000000-0000-7000-8000-0000000000ff");
const otherVendor = idOf("vendor", "00000000-0000-7000-8000-0000000000fe");

let world: AgentWorld;
let agent: RunningAgent;

beforeEach(async () => {
  world = await agentWorld();
  agent = world.begin();
  await agent.intake.offered(world.offerOf({ number: 5n }));
  await agent.until(({ committedGeneration }) => committedGeneration?.number === 5n);
});
afterEach(async () => {
  await agent.end();
  world.dispose();
});

function floorOf(product: string, minReleaseNumber: bigint) {
  const floor = create(FloorSchema, { vendorId: VENDOR, product, minReleaseNumber });
  return signEnvelope("floor", toBinary(FloorSchema, floor), [world.releaseKey]);
}

/** The release that the offer names, as the hub would give it out, changed. */
function replaceRelease(offer: Offer, keys: readonly (typeof stranger)[], version = "6.0.0"): void {
  const payload = offer.assignment?.payload ?? new Uint8Array();
  const { releaseDigest } = fromBinary(AssignmentSchema, payload);
  const release = world.releases.get(releaseDigest);
  if (release === undefined) throw new Error("no such release");
  const blueprint = fromBinary(BlueprintSchema, release.payload);
  const bytes = toBinary(BlueprintSchema, { ...blueprint, version });
  world.releases.set(releaseDigest, signEnvelope("blueprint", bytes, keys));
}

describe("an offer", () => {
  const good = () => world.offerOf({ number: 6n });
  const signed = (keys: readonly (typeof stranger)[]) =>
    world.offerOf({ number: 6n, signWith: keys });

  it.each<{ is: string; reason: string; offer: () => Offer }>([
    { is: "without a signature", reason: "UNSIGNED", offer: () => signed([]) },
    {
      is: "signed by a key that is not pinned",
      reason: "UNKNOWN_KEY",
      offer: () => signed([stranger]),
    },
    {
      is: "signed by the release key alone",
      reason: "UNKNOWN_KEY",
      offer: () => signed([world.releaseKey]),
    },
    {
      is: "changed after it was signed",
      reason: "SIGNATURE_BAD",
      offer: () => {
        const offer = good();
        const { assignment } = offer;
        const last = assignment?.payload.length ?? 0;
        if (assignment) assignment.payload[last - 1] = (assignment.payload[last - 1] ?? 0) ^ 1;
        return offer;
      },
    },
    {
      is: "whose envelope says it is something else",
      reason: "ENVELOPE_TYPE",
      offer: () => {
        const offer = good();
        const payloadType = "application/vnd.holdfast.entitlement+proto";
        const assignment = create(EnvelopeSchema, {
          payload: offer.assignment?.payload ?? new Uint8Array(),
          signatures: offer.assignment?.signatures ?? [],
          payloadType,
        });
        return create(OfferSchema, { ...offer, assignment });
      },
    },
    {
      is: "for another cell",
      reason: "WRONG_CELL",
      offer: () => world.offerOf({ number: 6n, assignment: { cellId: elsewhere } }),
    },
    {
      is: "of another vendor",
      reason: "WRONG_VENDOR",
      offer: () => world.offerOf({ number: 6n, assignment: { vendorId: otherVendor } }),
    },
    {
      is: "for another instance than it is offered for",
      reason: "WRONG_INSTANCE",
      offer: () =>
        create(OfferSchema, {
          ...world.offerOf({ instance: instanceId(2), number: 6n }),
          instanceId: instanceId(),
        }),
    },
    {
      is: "of an older generation",
      reason: "GENERATION_OLD",
      offer: () => world.offerOf({ number: 4n }),
    },
    {
      is: "of an older incarnation",
      reason: "GENERATION_OLD",
      offer: () => world.offerOf({ incarnation: 0n, number: 900n, release: 6 }),
    },
    {
      is: "of the same generation with other content",
      reason: "GENERATION_REUSED",
      offer: () => world.offerOf({ number: 5n, release: 6 }),
    },
    {
      is: "2^40 generations ahead",
      reason: "GENERATION_JUMP",
      offer: () => world.offerOf({ number: 5n + 2n ** 40n, release: 6 }),
    },
    {
      is: "of a release below the floor",
      reason: "RELEASE_BELOW_FLOOR",
      offer: () => create(OfferSchema, { ...good(), floor: floorOf("etl", 7n) }),
    },
    {
      is: "with a floor that the hub signed",
      reason: "UNKNOWN_KEY",
      offer: () => {
        const bytes = floorOf("etl", 1n).payload;
        return create(OfferSchema, {
          ...good(),
          floor: signEnvelope("floor", bytes, [world.hubKey]),
        });
      },
    },
    {
      is: "whose release the vendor did not sign",
      reason: "UNKNOWN_KEY",
      offer: () => {
        const offer = good();
        replaceRelease(offer, [world.hubKey]);
        return offer;
      },
    },
    {
      is: "whose release has no signature",
      reason: "UNSIGNED",
      offer: () => {
        const offer = good();
        replaceRelease(offer, []);
        return offer;
      },
    },
    {
      is: "whose release was swapped for another signed one",
      reason: "RELEASE_SWAPPED",
      offer: () => {
        const offer = good();
        replaceRelease(offer, [world.releaseKey], "6.0.1");
        return offer;
      },
    },
    {
      is: "that says another version than its release",
      reason: "RELEASE_MISMATCH",
      offer: () => world.offerOf({ number: 6n, assignment: { releaseVersion: "6.1.0" } }),
    },
    {
      is: "with parameters that the release does not know",
      reason: "PARAMETERS_INVALID",
      offer: () => world.offerOf({ number: 6n, assignment: { parameters: { surprise: true } } }),
    },
    {
      is: "of a release whose program is no part of it",
      reason: "BLUEPRINT_INVALID",
      offer: () => world.offerOf({ number: 6n, resources: [{ id: "Not an id" }] }),
    },
  ])("$is is refused as $reason, and nothing is touched", async ({ reason, offer }) => {
    const before = world.copies();
    const orders = [...agent.driver.orders];
    await agent.intake.offered(offer());
    const status = await agent.until(({ attempt }) => attempt?.state === AttemptState.REFUSED);
    expect(status.attempt?.reason).toBe(reason);
    expect(status.attempt?.message).not.toBe("");
    expect(status.committedGeneration?.number).toBe(5n);
    expect(assignments.find(agent.store, instanceId())?.generation.number).toBe(5n);
    expect(world.copies()).toEqual(before);
    expect(agent.driver.orders).toEqual(orders);
    await agent.intake.offered(world.offerOf({ number: 8n }));
    const next = await agent.until(({ committedGeneration }) => committedGeneration?.number === 8n);
    expect(next.attempt?.state).toBe(AttemptState.COMMITTED);
  });

  it("whose artefact was swapped is returned from, with the content refused", async () => {
    const [digest = ""] = world.artefacts.keys();
    const original = world.artefacts.get(digest) ?? new Uint8Array();
    // Of the same size: less would count as cut off on the way.
    const swapped = original.map((byte, at) => (at === original.length >> 2 ? byte ^ 1 : byte));
    await agent.engine.pruneArtefacts();
    world.artefacts.set(digest, swapped);
    await agent.end();
    const { rmSync } = await import("node:fs");
    rmSync(`${world.stateDir}/artefacts`, { recursive: true });
    agent = world.begin();
    await agent.intake.offered(world.offerOf({ number: 6n }));
    const status = await agent.until(({ attempt }) => attempt?.state === AttemptState.RETURNED);
    expect(status.attempt?.reason).toBe("ARTEFACT_SWAPPED");
    expect(world.copies().map(({ file }) => file.number)).toEqual(["5"]);
    world.artefacts.set(digest, original);
    await agent.intake.offered(world.offerOf({ number: 7n }));
    await agent.until(({ committedGeneration }) => committedGeneration?.number === 7n);
  });

  it("waits for a release that cannot be fetched now, and holds up no other instance", async () => {
    const offer = good();
    const digest = fromBinary(
      AssignmentSchema,
      offer.assignment?.payload ?? new Uint8Array(),
    ).releaseDigest;
    world.link.isUp = false;
    const waiting = agent.intake.offered(offer);
    const known = world.offerOf({ instance: instanceId(2), number: 1n, release: 5 });
    await agent.intake.offered(known);
    await agent.until(
      ({ committedGeneration }) => committedGeneration?.number === 1n,
      instanceId(2),
    );
    expect(assignments.find(agent.store, instanceId())?.generation.number).toBe(5n);
    world.link.isUp = true;
    await waiting;
    expect(assignments.findRelease(agent.store, digest)).toBeDefined();
    await agent.until(({ committedGeneration }) => committedGeneration?.number === 6n);
  });

  it("that waits gives way to a newer one", async () => {
    world.link.isUp = false;
    const waiting = agent.intake.offered(good());
    const newer = agent.intake.offered(world.offerOf({ number: 7n, release: 5 }));
    await Promise.all([waiting, newer]);
    await agent.until(({ committedGeneration }) => committedGeneration?.number === 7n);
  });

  it("given twice is kept once", async () => {
    const offer = good();
    await Promise.all([agent.intake.offered(offer), agent.intake.offered(offer)]);
    await agent.until(({ committedGeneration }) => committedGeneration?.number === 6n);
    await agent.intake.offered(offer);
    expect(agent.statusOf()?.attempt?.state).toBe(AttemptState.COMMITTED);
    expect(digestOf(offer.assignment?.payload ?? new Uint8Array())).toBe(
      assignments.find(agent.store, instanceId())?.digest,
    );
  });
});

describe("what is pinned", () => {
  it("a floor is never lowered", async () => {
    await agent.intake.offered(
      create(OfferSchema, { instanceId: instanceId(), floor: floorOf("etl", 5n) }),
    );
    await agent.intake.offered(
      create(OfferSchema, { instanceId: instanceId(), floor: floorOf("etl", 2n) }),
    );
    expect(pins.findFloor(agent.store, "etl")).toBe(5n);
  });

  it("a key set is replaced by one that the present set signed, and by no other", async () => {
    const next = signingKey(new Uint8Array(32).fill(3));
    const set = (version: bigint) =>
      toBinary(KeySetSchema, keySet(KeyPurpose.ASSIGNMENT, version, [next]));
    const by = (version: bigint, key: typeof next) => signEnvelope("keyset", set(version), [key]);
    expect(() => pinKeySet(agent.store, by(2n, next), VENDOR)).toThrow("not a key that is trusted");
    expect(() => pinKeySet(agent.store, by(2n, world.releaseKey), VENDOR)).toThrow("trusted");
    expect(pinKeySet(agent.store, by(2n, world.hubKey), VENDOR)).toBe(true);
    const old = toBinary(KeySetSchema, keySet(KeyPurpose.ASSIGNMENT, 1n, [world.hubKey]));
    expect(() => pinKeySet(agent.store, signEnvelope("keyset", old, [next]), VENDOR)).toThrow(
      "version 1",
    );
    await agent.intake.offered(world.offerOf({ number: 6n }));
    await agent.until(({ attempt }) => attempt?.reason === "UNKNOWN_KEY");
    await agent.intake.offered(world.offerOf({ number: 6n, signWith: [next] }));
    await agent.until(({ committedGeneration }) => committedGeneration?.number === 6n);
  });
});
