/** The link from end to end: enrol, connect, offers, statuses, usage, fetches, and the return after an outage. */
import { randomBytes } from "node:crypto";
import { create, equals, toBinary } from "@bufbuild/protobuf";
import { ControlResponseSchema, FencedSchema } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { EnvelopeSchema } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { digestOf } from "@holdfast/shared/digest.ts";
import { signEnvelope } from "@holdfast/shared/dsse.ts";
import { describe, expect, it } from "vitest";
import { cleanups, connect, fleet } from "./fleet.ts";
import { enrolled } from "./memory-agent.ts";
import { eventually, MemoryHub, startHub } from "./world.ts";

const INSTANCE = "ins_0198a0c0000070008000000000000001";
describe("the link", () => {
  it("brings an enrolled agent what differs, as the stored bytes, and its status back", async () => {
    const { world, hub } = await fleet();
    const frame = hub.assign(INSTANCE, 3n);
    const agent = await enrolled(world);
    agent.say(INSTANCE, { committedReleaseVersion: "1.0.0" });
    connect(agent);
    const offer = await eventually("an offer", () => agent.offers[0]);
    const sent = create(ControlResponseSchema, { message: { case: "offer", value: offer } });
    expect(Buffer.from(toBinary(ControlResponseSchema, sent))).toEqual(Buffer.from(frame.bytes));
    const status = await eventually("a status", () => hub.statuses[0]?.instances[0]);
    expect(status.committedReleaseVersion).toBe("1.0.0");
    expect(agent.welcomes[0]).toMatchObject({ protocol: 1, incarnation: 1n, session: 1n });
    expect(agent.notes.length).toBeGreaterThan(0);
  });

  it("offers a change when the cell's bell rings, and nothing that the agent holds", async () => {
    const { world, hub } = await fleet();
    hub.assign(INSTANCE, 1n);
    const agent = await enrolled(world);
    connect(agent);
    await eventually("the first offer", () => agent.offers.length === 1);
    hub.assign(INSTANCE, 2n);
    hub.ring(world.cell);
    await eventually("the second offer", () => agent.offers.length === 2);
    const asked = hub.asked.length;
    hub.ring(world.cell);
    await eventually("another look", () => hub.asked.length > asked);
    expect(agent.offers.length).toBe(2);
    expect(hub.asked.at(-1)?.[0]?.generation?.number).toBe(2n);
  });

  it("comes back by itself after the hub was gone, and says all that it holds and knows", async () => {
    const { world, hub, running } = await fleet();
    hub.assign(INSTANCE, 1n);
    const agent = await enrolled(world);
    agent.say(INSTANCE);
    connect(agent);
    await eventually("a status", () => hub.statuses.length === 1);
    await eventually("the offer", () => agent.offers.length === 1);
    await running.stop(100);
    await eventually("the loss", () => !agent.isUp);
    const next = new MemoryHub();
    next.assign(INSTANCE, 1n);
    cleanups.push((await startHub(world, next)).stop);
    await eventually("the return", () => agent.isUp);
    await eventually("the status again", () => next.statuses.length === 1);
    expect(next.hellos[0]?.held[0]?.generation?.number).toBe(1n);
    expect(agent.offers.length).toBe(1);
  });

  it("carries batches up and acknowledgements down, and opens again when fenced", async () => {
    const { world, hub } = await fleet();
    const agent = await enrolled(world);
    connect(agent, { random: () => 0.01 });
    for (let seq = 1n; seq <= 20n; seq++) agent.measure(seq);
    await eventually("all acknowledged", () => agent.acks.length === 20);
    expect(agent.acks.at(-1)?.acceptedSeq).toBe(20n);
    expect(agent.pages.map(({ more }) => more)).toEqual([true, false]);
    hub.fenceNext = create(FencedSchema, { reason: "EPOCH_OLD" });
    agent.measure(21n);
    await eventually("fenced", () => agent.fences[0]?.reason === "EPOCH_OLD");
    await eventually("opened again", () => agent.pages.length === 4);
    agent.measure(22n);
    await eventually("acknowledged again", () => agent.acks.length === 21);
  });

  it("fetches releases and artefacts, the latter in chunks from an offset", async () => {
    const { world, hub } = await fleet();
    const bytes = randomBytes(3_000_000);
    const digest = digestOf(bytes);
    hub.artefacts.set(digest, bytes);
    const release = signEnvelope("blueprint", new Uint8Array([1]), [hub.key]);
    hub.releases.set(digest, release);
    const agent = await enrolled(world);
    const link = connect(agent);
    await eventually("the link", () => agent.isUp);
    const { signal } = new AbortController();
    const fetched = await link.fetch.fetchRelease(digest, signal);
    expect(equals(EnvelopeSchema, fetched, release)).toBe(true);
    const chunks: Uint8Array[] = [];
    for await (const chunk of link.fetch.fetchArtefact(digest, 7n, signal)) chunks.push(chunk);
    expect(Buffer.concat(chunks).equals(bytes.subarray(7))).toBe(true);
    expect(Math.max(...chunks.map(({ length }) => length))).toBe(256 * 1024);
    const missing = link.fetch.fetchRelease(digestOf(new Uint8Array()), signal);
    await expect(missing).rejects.toMatchObject({ code: "NOT_FOUND", reason: "RELEASE_NOT_FOUND" });
  });

  it("fetches a sealed secret by name and version, and is told which there is none of", async () => {
    const { world, hub } = await fleet();
    const sealed = randomBytes(66_560);
    hub.secrets.set("ins_1/dsn/3", sealed);
    const agent = await enrolled(world);
    const link = connect(agent);
    await eventually("the link", () => agent.isUp);
    const { signal } = new AbortController();
    const fetched = await link.fetch.fetchSecret("ins_1", "dsn", 3n, signal);
    expect(Buffer.from(fetched).equals(sealed)).toBe(true);
    const missing = link.fetch.fetchSecret("ins_1", "dsn", 4n, signal);
    await expect(missing).rejects.toMatchObject({ code: "NOT_FOUND", reason: "SECRET_NOT_FOUND" });
    await link.stop();
    const late = link.fetch.fetchSecret("ins_1", "dsn", 3n, signal);
    await expect(late).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });
});
