/**
 * Destroying data. What a hub that was taken over could try is refused one by one, and the data is there after each; what
 * the vendor's destroy key or the customer on this host allows is done once, and nothing beside it.
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { ActionKind, ActionState } from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import { DestroyOrderSchema } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import type { Envelope } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { KeyPurpose, KeySetSchema } from "@holdfast/proto/holdfast/model/v1/keys_pb.js";
import { type SigningKey, signEnvelope, signingKey } from "@holdfast/shared/dsse.ts";
import { idOf } from "@holdfast/shared/ids.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { pinAtJoin, pinKeySet } from "../assignments/pinning.ts";
import type { Step } from "../drivers/driver.ts";
import { instanceDirectories } from "../local/directories.ts";
import * as pins from "../store/pins.ts";
import {
  type AgentWorld,
  agentWorld,
  CELL,
  instanceId,
  keySet,
  type RunningAgent,
} from "./engine.test-world.ts";
import { type FileDriver, fileDriver } from "./file-driver.test-world.ts";
import { VENDOR } from "./release.test-world.ts";

const DESTROY_KEY = signingKey(new Uint8Array(32).fill(31));
const STRANGER = signingKey(new Uint8Array(32).fill(32));
const HOUR_MS = 3_600_000;

let world: AgentWorld;
let agent: RunningAgent;

beforeEach(async () => {
  world = await agentWorld();
  agent = world.begin();
  pinKeySet(agent.store, destroyKeys(1n, DESTROY_KEY, [world.releaseKey]), VENDOR);
});
afterEach(async () => {
  await agent.end();
  world.dispose();
});

function destroyKeys(version: bigint, key: SigningKey, by: readonly SigningKey[]): Envelope {
  const set = keySet(KeyPurpose.DESTROY, version, [key]);
  return signEnvelope("keyset", toBinary(KeySetSchema, set), by);
}

type OrderChange = Readonly<{
  vendorId?: string;
  cellId?: string;
  instanceId?: string;
  number?: bigint;
  names?: string[];
  signedAt?: number;
  endsAt?: number;
  nonce?: number;
}>;

function orderOf(change: OrderChange = {}, by: readonly SigningKey[] = [DESTROY_KEY]): Envelope {
  const { number = 2n, signedAt = Date.now(), endsAt = Date.now() + HOUR_MS, nonce = 1 } = change;
  const { vendorId = VENDOR, cellId = CELL, names = [] } = change;
  const order = create(DestroyOrderSchema, {
    ...{ vendorId, cellId, instanceId: change.instanceId ?? instanceId(), names },
    generation: { incarnation: 1n, number },
    signTime: timestampFromMs(signedAt),
    expireTime: timestampFromMs(endsAt),
    nonce: new Uint8Array(16).fill(nonce),
  });
  return signEnvelope("destroy", toBinary(DestroyOrderSchema, order), by);
}

let orders = 0;
async function asked(destroyOrder: Envelope | undefined, more: Readonly<{ id?: string }> = {}) {
  const id =
    more.id ?? idOf("action", `00000000-0000-7000-8000-${String(++orders).padStart(12, "0")}`);
  const given = destroyOrder === undefined ? {} : { destroyOrder };
  const { ended } = agent.order({ id, kind: ActionKind.DESTROY, ...given });
  const { state, reason, message } = await ended;
  return { state: ActionState[state], reason, message };
}

const rows = (instance = instanceId()) =>
  join(instanceDirectories(world.stateDir, instance).data, "rows");

/** Removed, with its data kept. */
async function removed(instance = instanceId()): Promise<void> {
  await agent.intake.offered(world.offerOf({ instance, number: 1n }));
  await agent.until(({ committedGeneration }) => committedGeneration?.number === 1n, instance);
  writeFileSync(rows(instance), "kept");
  await agent.intake.offered(world.offerOf({ instance, number: 2n, release: 1, tombstone: true }));
  await agent.until(({ kept }) => kept.length === 1, instance);
}

describe("a hub that was taken over", () => {
  const none = { state: "REFUSED" };
  beforeEach(() => removed());
  const cases: readonly (readonly [string, string, () => Envelope | undefined])[] = [
    ["sends no order", "UNSIGNED", () => undefined],
    ["signs with its own key", "UNKNOWN_KEY", () => orderOf({}, [world.hubKey])],
    ["has the release key", "UNKNOWN_KEY", () => orderOf({}, [world.releaseKey])],
    ["has a key of somebody else", "UNKNOWN_KEY", () => orderOf({}, [STRANGER])],
    ["leaves the signature out", "UNSIGNED", () => orderOf({}, [])],
    [
      "changes what was signed",
      "SIGNATURE_BAD",
      () => {
        const order = orderOf();
        order.payload[order.payload.length - 1] = 7;
        return order;
      },
    ],
    [
      "takes another document of the key for an order",
      "ENVELOPE_TYPE",
      () => destroyKeys(1n, DESTROY_KEY, [DESTROY_KEY]),
    ],
    [
      "sends one that is over",
      "ORDER_EXPIRED",
      () => orderOf({ signedAt: Date.now() - 2 * HOUR_MS, endsAt: Date.now() - HOUR_MS }),
    ],
    ["sends one without an end", "ORDER_LIFE", () => orderOf({ endsAt: 0 })],
    [
      "sends one that is good for ever",
      "ORDER_LIFE",
      () => orderOf({ endsAt: Date.now() + 400 * 24 * HOUR_MS }),
    ],
    [
      "sends another vendor's",
      "WRONG_VENDOR",
      () => orderOf({ vendorId: idOf("vendor", "00000000-0000-7000-8000-0000000000fe") }),
    ],
    [
      "sends another cell's",
      "WRONG_CELL",
      () => orderOf({ cellId: idOf("cell", "00000000-0000-7000-8000-0000000000fd") }),
    ],
    ["sends another instance's", "WRONG_INSTANCE", () => orderOf({ instanceId: instanceId(9) })],
    ["sends one of an older generation", "GENERATION_OLD", () => orderOf({ number: 1n })],
    [
      "names more than one order may",
      "ORDER_NAMES",
      () => orderOf({ names: Array.from({ length: 101 }, (_, n) => `v${n}`) }),
    ],
    ["names what is not there", "DATA_UNKNOWN", () => orderOf({ names: ["other"] })],
  ];
  it.each(cases)("%s: %s", async (_, reason, order) => {
    expect(await asked(order())).toMatchObject({ ...none, reason });
    expect(existsSync(rows())).toBe(true);
  });

  it("turns its clock back: an order that is over stays over", async () => {
    await agent.end();
    agent = world.begin({ hubNow: () => Date.now() - 10 * HOUR_MS });
    const over = orderOf({ signedAt: Date.now() - 2 * HOUR_MS, endsAt: Date.now() - HOUR_MS });
    expect(await asked(over)).toMatchObject({ ...none, reason: "ORDER_EXPIRED" });
    expect(existsSync(rows())).toBe(true);
  });

  it("says that the customer approved it", async () => {
    expect(await asked(undefined, { id: "local:1" })).toMatchObject({
      ...none,
      reason: "NOT_LOCAL",
    });
    expect(existsSync(rows())).toBe(true);
  });

  it("sends an order again after an undeletion, and it is refused", async () => {
    const order = orderOf();
    expect(await asked(order)).toMatchObject({ state: "DONE", reason: "DESTROYED" });
    expect(existsSync(rows())).toBe(false);
    writeFileSync(rows(), "new");
    expect(await asked(order)).toMatchObject({ ...none, reason: "ORDER_USED" });
    await agent.intake.offered(world.offerOf({ number: 3n, release: 1 }));
    await agent.until(({ committedGeneration }) => committedGeneration?.number === 3n);
    expect(await asked(orderOf({ nonce: 2 }))).toMatchObject({ ...none, reason: "GENERATION_OLD" });
    const inUse = orderOf({ number: 3n });
    expect(await asked(inUse)).toMatchObject({ ...none, reason: "DATA_IN_USE" });
    expect(existsSync(rows())).toBe(true);
  });
});

describe("destroy keys", () => {
  it("are pinned only where a release key vouches for them, and then only follow each other", async () => {
    await agent.end();
    world.dispose();
    world = await agentWorld();
    agent = world.begin();
    await removed();
    const pin = (...given: Parameters<typeof destroyKeys>) => {
      return () => pinKeySet(agent.store, destroyKeys(...given), VENDOR);
    };
    expect(await asked(orderOf())).toMatchObject({ reason: "DESTROY_KEYS_MISSING" });
    expect(pin(1n, STRANGER, [STRANGER])).toThrow(/not a key that is trusted/);
    expect(pin(1n, STRANGER, [world.hubKey])).toThrow(/not a key that is trusted/);
    pinAtJoin(agent.store, [destroyKeys(1n, STRANGER, [STRANGER])], VENDOR);
    expect(pins.findKeySet(agent.store, KeyPurpose.DESTROY)).toBeUndefined();
    expect(pin(1n, DESTROY_KEY, [world.releaseKey])()).toBe(true);
    expect(pin(2n, STRANGER, [world.releaseKey])).toThrow(/not a key that is trusted/);
    expect(pin(2n, STRANGER, [DESTROY_KEY, world.releaseKey])()).toBe(true);
    expect(await asked(orderOf())).toMatchObject({ reason: "UNKNOWN_KEY" });
    expect(await asked(orderOf({}, [STRANGER]))).toMatchObject({ state: "DONE" });
  });
});

describe("an order", () => {
  it("waits for the removal that it is for, and touches nothing of another instance", async () => {
    await removed(instanceId(2));
    await agent.intake.offered(world.offerOf({ number: 1n }));
    await agent.until(({ committedGeneration }) => committedGeneration?.number === 1n);
    writeFileSync(rows(), "kept");
    const early = asked(orderOf({ names: ["data"] }));
    await agent.intake.offered(world.offerOf({ number: 2n, release: 1, tombstone: true }));
    expect(await early).toMatchObject({ state: "DONE", message: "destroyed: data" });
    expect([existsSync(rows()), existsSync(rows(instanceId(2)))]).toEqual([false, true]);
    await agent.until(({ kept }) => kept.length === 0);
    expect(agent.statusOf(instanceId(2))?.kept).toHaveLength(1);
  });
});

describe("an approval on this host", () => {
  it("destroys what nothing uses, also of an instance that nobody knows any more", async () => {
    await removed();
    const [data] = agent.statusOf()?.kept ?? [];
    expect(data).toMatchObject({ name: "data", resource: "" });
    expect(await agent.engine.destroy(instanceId(), "no-such")).toMatchObject({
      reason: "DATA_UNKNOWN",
    });
    expect(await agent.engine.destroy(instanceId(), "data")).toMatchObject({
      state: ActionState.DONE,
    });
    expect(existsSync(rows())).toBe(false);
    mkdirSync(join(rows(instanceId(7)), ".."), { recursive: true });
    writeFileSync(rows(instanceId(7)), "of an agent before this one");
    expect(await agent.engine.destroy(instanceId(7), "")).toMatchObject({ reason: "DESTROYED" });
    expect(existsSync(rows(instanceId(7)))).toBe(false);
  });

  it("does not reach what an instance runs on", async () => {
    await agent.intake.offered(world.offerOf({ number: 1n }));
    await agent.until(({ committedGeneration }) => committedGeneration?.number === 1n);
    writeFileSync(rows(), "kept");
    expect(await agent.engine.destroy(instanceId(), "")).toMatchObject({ reason: "DATA_IN_USE" });
    expect(existsSync(rows())).toBe(true);
  });
});

describe("a step that destroys", () => {
  /** Its second release destroys what the first one wrote. */
  function destroying(): FileDriver {
    const inner = fileDriver();
    return {
      ...inner,
      steps: (live, last, wanted, now) =>
        inner
          .steps(live, last, wanted, now)
          .map(
            (step): Step =>
              step.verb === "start" && last !== undefined && last.digest !== wanted?.digest
                ? { ...step, destroys: ["data"] }
                : step,
          ),
    };
  }

  it("is held until this very generation may do it, by order or on this host", async () => {
    await agent.end();
    agent = world.begin({ driver: destroying() });
    await agent.intake.offered(world.offerOf({ number: 1n }));
    await agent.until(({ committedGeneration }) => committedGeneration?.number === 1n);
    writeFileSync(rows(), "kept");
    await agent.intake.offered(world.offerOf({ number: 2n }));
    const held = await agent.until(({ attempt }) => attempt?.reason === "DESTROY_ORDER_MISSING");
    expect(held.attempt?.message).toContain("data");
    expect(world.copies().map(({ file }) => file.number)).toEqual(["1"]);
    expect(await asked(orderOf({ number: 1n, names: ["data"] }))).toMatchObject({
      reason: "GENERATION_OLD",
    });
    expect(await asked(orderOf({ names: ["data"] }))).toMatchObject({ reason: "GRANTED" });
    await agent.until(({ committedGeneration }) => committedGeneration?.number === 2n);
    await agent.intake.offered(world.offerOf({ number: 3n }));
    await agent.until(({ attempt }) => attempt?.reason === "DESTROY_ORDER_MISSING");
    expect(await agent.engine.destroy(instanceId(), "data")).toMatchObject({ reason: "GRANTED" });
    await agent.until(({ committedGeneration }) => committedGeneration?.number === 3n);
  });
});
