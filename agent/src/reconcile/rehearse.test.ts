/** What a rehearsal says, and that the agent is the same after it as before. */
import { readdirSync } from "node:fs";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { OfferSchema } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { CandidateSchema, StepClass } from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import { AssignmentSchema } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { systemClock } from "@holdfast/shared/clock.ts";
import { type SigningKey, signEnvelope, signingKey } from "@holdfast/shared/dsse.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ConsentPort } from "../consent/port.ts";
import {
  AGENT,
  type AgentWorld,
  agentWorld,
  CELL,
  instanceId,
  type OfferInput,
  type RunningAgent,
} from "./engine.test-world.ts";
import { rehearse } from "./rehearse.ts";
import { VENDOR } from "./release.test-world.ts";

let world: AgentWorld;
let agent: RunningAgent;
beforeEach(async () => {
  world = await agentWorld();
  agent = world.begin();
});
afterEach(async () => {
  await agent.end();
  world.dispose();
});

type Change = OfferInput & Readonly<{ expireMs?: number; key?: SigningKey; kind?: "assignment" }>;

function candidateOf({ expireMs = 60_000, key = world.hubKey, kind, ...input }: Change) {
  const payload = world.offerOf(input).assignment?.payload ?? new Uint8Array();
  const assignment = fromBinary(AssignmentSchema, payload);
  const expireTime = timestampFromMs(Date.now() + expireMs);
  const candidate = toBinary(CandidateSchema, create(CandidateSchema, { assignment, expireTime }));
  return signEnvelope(kind ?? "rehearsal", kind === undefined ? candidate : payload, [key]);
}

async function ask(change: Change) {
  const { reason, message, steps, ...rest } = await rehearse(
    {
      ...{ store: agent.store, engine: agent.engine, clock: systemClock, hubNow: Date.now },
      identity: () => ({ vendorId: VENDOR, cellId: CELL, agentId: AGENT }) as never,
      release: (assignment) => agent.intake.release(assignment),
    },
    "r1",
    candidateOf(change),
  );
  const said = reason === "" ? "" : `${reason}: ${message}`;
  return { ...rest, said, steps: steps.map(({ id, stepClass }) => [id, stepClass]) };
}

/** Everything that is kept. */
function kept(): unknown {
  const tables = agent.store.all<{ name: string }>(
    "select name from sqlite_master where type = 'table' order by name",
  );
  const rows = tables.map(({ name }) => [name, agent.store.all(`select * from ${name}`)]);
  const files = readdirSync(world.stateDir, { recursive: true }).toSorted();
  return { rows, files: files.filter((file) => !String(file).startsWith("agent.db")) };
}

describe("a rehearsal", () => {
  it("of a new instance names the steps and what would be fetched, and keeps nothing", async () => {
    const before = kept();
    const answer = await ask({ number: 1n });
    expect(answer).toMatchObject({ said: "", holds: [] });
    expect(answer.steps).toEqual([["worker/start", StepClass.REVERSIBLE]]);
    expect(answer.missing).toEqual([
      expect.stringMatching(/^artefact worker: \d+ bytes of sha256:/),
    ]);
    expect(kept()).toEqual(before);
    expect(agent.statusOf()).toBeUndefined();
  });

  it("of a change names what starts and what stops, and touches neither", async () => {
    await agent.intake.offered(world.offerOf({ number: 1n }));
    await agent.until(({ committedGeneration }) => committedGeneration?.number === 1n);
    await agent.until(({ outputs }) => outputs?.["worker"] !== undefined);
    const before = kept();
    const copies = world.copies();
    const orders = agent.driver.orders.length;
    const answer = await ask({ number: 2n, resources: [{ mode: "sick" }] });
    expect(answer).toMatchObject({ said: "", holds: [], missing: [] });
    expect(answer.steps.map(([id]) => id)).toEqual([
      "worker/start",
      `worker/stop/${copies[0]?.handle}`,
    ]);
    expect(await ask({ number: 1n })).toMatchObject({ steps: [] });
    expect(agent.driver.orders).toHaveLength(orders);
    expect(world.copies()).toEqual(copies);
    expect(kept()).toEqual(before);
  });

  it("has the digest of the step list that the rules are asked about and the attempt records", async () => {
    await agent.end();
    const judged = new Set<string>();
    const consent: ConsentPort = {
      judge({ stepsDigest }) {
        judged.add(stepsDigest);
        return { verdict: "allowed", rule: "any" };
      },
    };
    agent = world.begin({ consent });
    const args = [`\${resources.worker.outputs.ports.http}`];
    const told = { id: "told", dependsOn: ["worker"], args, portless: true };
    const second = { number: 2n, resources: [{ mode: "x" }, told] };
    await agent.intake.offered(world.offerOf({ number: 1n }));
    await agent.until(({ outputs }) => outputs?.["worker"] !== undefined);
    const { stepsDigest } = await ask(second);
    expect((await ask({ number: 2n, resources: [{ mode: "y" }, told] })).stepsDigest).not.toBe(
      stepsDigest,
    );
    judged.clear();
    await agent.intake.offered(world.offerOf(second));
    const { attempt } = await agent.until(
      ({ committedGeneration }) => committedGeneration?.number === 2n,
    );
    expect(attempt?.stepsDigest).toBe(stepsDigest);
    // Asked at first, and again for the resource whose hole was filled.
    expect([...judged]).toEqual([stepsDigest]);
  });

  it("names what cannot be kept serving, and what cannot be taken back", async () => {
    await agent.intake.offered(world.offerOf({ number: 1n }));
    await agent.until(({ committedGeneration }) => committedGeneration?.number === 1n);
    expect((await ask({ number: 2n })).notAtomic).toEqual([]);
    expect((await ask({ number: 2n, resources: [{ mode: "final" }] })).notAtomic).toEqual([
      "worker: start worker of 2.0.0 again; there is no way back after it",
    ]);
  });

  it("says which rule would hold it, and which secret is missing", async () => {
    await agent.end();
    const answer = { verdict: "held", rule: "hours", message: "only at night" } as const;
    const consent: ConsentPort = { judge: () => answer };
    agent = world.begin({ consent });
    const resources = [{ secretFiles: { dsn: `\${secrets.dsn}` } }];
    const { holds, missing } = await ask({ number: 3n, resources });
    expect(holds).toEqual(["1.3: hours: only at night"]);
    expect(missing[0]).toMatch(/^SECRET_MISSING: secret dsn/);
  });

  it.each<[string, () => Change, string]>([
    ["of another key", () => ({ number: 1n, key: signingKey(new Uint8Array(32).fill(9)) }), ""],
    ["whose time is over", () => ({ number: 1n, expireMs: -2_000 }), "REHEARSAL_EXPIRED"],
    ["for another cell", () => ({ number: 1n, assignment: { cellId: "cel_x" } }), "WRONG_CELL"],
    ["that is an assignment", () => ({ number: 1n, kind: "assignment" }), "ENVELOPE_TYPE"],
  ])("%s is refused", async (_, change, reason) => {
    expect((await ask(change())).said).toMatch(
      reason === "" ? /^[A-Z_]+: / : new RegExp(`^${reason}`),
    );
  });

  it("cannot be applied: an offer with a candidate is refused", async () => {
    const assignment = candidateOf({ number: 1n });
    const offer = create(OfferSchema, { instanceId: instanceId(), assignment });
    await agent.intake.offered(offer);
    const { attempt } = await agent.until(({ attempt: each }) => each !== undefined);
    expect(attempt?.reason).toMatch(/^ENVELOPE_TYPE/);
    expect(world.copies()).toEqual([]);
  });
});
