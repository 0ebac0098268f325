/** Secrets at the hub: kept sealed, assigned as a new generation, handed to their agent alone, told without values. */
import { randomUUID } from "node:crypto";
import { create, fromBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema } from "@holdfast/proto/google/rpc/error_details_pb.js";
import { AgentService } from "@holdfast/proto/holdfast/api/v1/agent_pb.js";
import { EventService } from "@holdfast/proto/holdfast/api/v1/event_pb.js";
import { InstanceService } from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { SecretService, SecretSource } from "@holdfast/proto/holdfast/api/v1/secret_pb.js";
import { SubscriptionService } from "@holdfast/proto/holdfast/api/v1/subscription_pb.js";
import { ControlResponseSchema, HelloSchema } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import {
  type Assignment,
  AssignmentSchema,
} from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { digestOf } from "@holdfast/shared/digest.ts";
import { idOf } from "@holdfast/shared/ids.ts";
import {
  identityFingerprint,
  newSealingIdentity,
  openSealingKey,
  openSecret,
  type SealingIdentity,
  sealSecret,
  signSealingKey,
} from "@holdfast/shared/sealing.ts";
import { beforeAll, describe, expect, it } from "vitest";
import type { AgentSession } from "../link/port.ts";
import { withClient } from "../store/database.ts";
import { startTestStore, type TestStore } from "../store/testing.ts";
import { startTestHub, type TestHub } from "../testing-hub.ts";
import { joinCell, offerProduct, vendorIdOf } from "../testing-product.ts";
import { linkHub } from "./link/link-hub.ts";

const CANARY = "hunter22-canary-of-acme";
let store: TestStore;
let hub: TestHub;

beforeAll(async () => {
  store = await startTestStore();
  hub = await startTestHub(store);
  await offerProduct(hub);
  await hub.client(SubscriptionService, hub.tokens.owner).createSubscription({
    subscription: { metadata: { name: "pro", tenant: "acme" }, spec: { plan: "pro" } },
  });
  return () => hub.close();
});

const owner = () => hub.client(SecretService, hub.tokens.owner);
const acme = () => hub.client(SecretService, hub.tokens.acmeOwner);
const link = () => linkHub(hub.parts.app);

async function reasonOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
  } catch (error) {
    const failure = ConnectError.from(error);
    const [info] = failure.findDetails(ErrorInfoSchema);
    const { reason = "" } = error as { reason?: string };
    return `${Code[failure.code]} ${info?.reason ?? reason}`;
  }
  return "OK";
}

async function makeInstance(name: string, cell: string, change: object = {}): Promise<string> {
  const spec = {
    ...{ product: "etl", release: "1.0.0", plan: "pro", subscription: "pro", cell },
    parameters: { source: "file.db" },
    ...change,
  };
  const { instance } = await hub.client(InstanceService, hub.tokens.owner).createInstance({
    instance: { metadata: { name, tenant: "acme" }, spec },
  });
  return instance?.metadata?.id ?? "";
}

type Agent = Readonly<{ session: AgentSession; sealing: SealingIdentity; id: string }>;

/** Joins, and says in its hello what to seal to; `recipient` makes it say another one than it has signed. */
async function connect(cell: string, announces = true): Promise<Agent> {
  const { principal, identity } = await joinCell(hub, cell);
  const sealing = await newSealingIdentity();
  const id = idOf("agent", principal.agentId);
  const who = {
    vendorId: idOf("vendor", vendorIdOf(hub)),
    cellId: idOf("cell", principal.cellId),
    agentId: id,
  };
  const sealingKey = signSealingKey(who, sealing.recipient, identity);
  const hello = create(HelloSchema, {
    fencing: principal.fencing,
    ...(announces ? { sealingKey } : {}),
  });
  return { session: await link().admit(principal, hello), sealing, id };
}

type Entry = Readonly<{ instance: string; name?: string; value?: string; tenant?: string }>;

/** What the CLI does. */
async function enter(
  { instance, name = "dsn", value = CANARY, tenant = "" }: Entry,
  client = owner(),
) {
  const place = await client.prepareSecret({ instance, tenant, name });
  const { instanceId, nextVersion: version, agentId, cellId, identityKey, sealingKey } = place;
  const who = { vendorId: idOf("vendor", vendorIdOf(hub)), cellId, agentId };
  const recipient = openSealingKey(sealingKey, identityKey, who);
  const bytes = new TextEncoder().encode(value);
  const sealed = await sealSecret({ instanceId, name, version }, bytes, recipient);
  const request = { instance, tenant, name, version, agentId, sealed };
  return { request, answer: await client.setSecret(request) };
}

async function assignmentFor(agent: Agent, instanceId: string): Promise<Assignment | undefined> {
  const { frames } = await link().differing(agent.session, [], 100);
  const frame = frames.find((each) => each.held.instanceId === instanceId);
  const { message } = fromBinary(ControlResponseSchema, frame?.bytes ?? new Uint8Array());
  if (message.case !== "offer") return undefined;
  return fromBinary(AssignmentSchema, message.value.assignment?.payload ?? new Uint8Array());
}

describe("setting a secret", () => {
  it("assigns a new generation that names it, and hands it to the agent it is sealed to", async () => {
    const agent = await connect("acme-cell");
    const id = await makeInstance("one", "acme-cell");
    expect((await assignmentFor(agent, id))?.secrets).toEqual([]);
    const { request, answer } = await enter({ instance: "one", tenant: "acme" });
    expect(answer.secret).toMatchObject({ name: "dsn", version: 1n, agentId: agent.id });
    expect(answer.generation).toMatchObject({ incarnation: 1n, number: 2n });
    const assignment = await assignmentFor(agent, id);
    expect(assignment?.generation).toMatchObject({ number: 2n });
    expect(assignment?.parameters).toEqual({ source: "file.db", batchRows: 100 });
    expect(assignment?.secrets).toMatchObject([
      { name: "dsn", version: 1n, sealedDigest: digestOf(request.sealed), agentId: agent.id },
    ]);
    const named = { instanceId: id, name: "dsn", version: 1n };
    const sealed = await link().secret(agent.session, named);
    expect(await openSecret(named, sealed, agent.sealing.identity)).toBe(CANARY);
    const other = await connect("globex-cell");
    await expect(link().secret(other.session, named)).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  it("keeps naming the newest version through other changes, and keeps no old ones", async () => {
    const agent = await connect("acme-cell");
    const id = await makeInstance("two", "acme-cell");
    for (const value of ["first", "second", "third"]) await enter({ instance: id, value });
    await hub.client(InstanceService, hub.tokens.owner).updateInstance({
      instance: {
        metadata: { name: "two", tenant: "acme" },
        spec: {
          ...{ product: "etl", release: "1.1.0", plan: "pro", subscription: "pro" },
          ...{ cell: "acme-cell", parameters: { source: "file.db" } },
        },
      },
    });
    const assignment = await assignmentFor(agent, id);
    expect(assignment?.releaseVersion).toBe("1.1.0");
    expect(assignment?.secrets).toMatchObject([{ name: "dsn", version: 3n }]);
    const fetched = (version: bigint) =>
      reasonOf(link().secret(agent.session, { instanceId: id, name: "dsn", version }));
    expect(await fetched(1n)).not.toBe("OK");
    expect([await fetched(2n), await fetched(3n)]).toEqual(["OK", "OK"]);
  });

  it("is answered the same when it is repeated, and does nothing when only tried", async () => {
    await connect("acme-cell");
    const id = await makeInstance("three", "acme-cell");
    const { request } = await enter({ instance: id });
    const version = 2n;
    const next = { ...request, version, requestId: randomUUID() };
    const tried = await owner().setSecret({ ...next, requestId: "", validateOnly: true });
    expect(tried.secret?.version).toBe(2n);
    const first = await owner().setSecret(next);
    const again = await owner().setSecret(next);
    expect(again).toEqual(first);
    const { secrets } = await owner().listSecrets({ instance: id });
    expect(secrets[0]?.version).toBe(2n);
  });

  it("is in the events, by whom and for which agent, without any of its bytes", async () => {
    await connect("acme-cell");
    const id = await makeInstance("four", "acme-cell");
    const { request } = await enter({ instance: id }, acme());
    const events = hub.client(EventService, hub.tokens.acmeOwner);
    const find = async () => {
      const page = await events.listEvents({ subject: `instance/${id}`, pageSize: 100 });
      return page.events.find(({ type }) => type === "instance.secret_set");
    };
    await expect.poll(find).toBeDefined();
    const event = await find();
    expect(event).toMatchObject({ principal: "member/acme/owner", permission: "secret.set" });
    expect(event?.after).toMatchObject({ secret: "dsn", version: "1", generation: "1.2" });
    expect(JSON.stringify(event?.after)).not.toContain(digestOf(request.sealed));
  });

  it.each([
    {
      it: "a value that is not sealed",
      change: { sealed: Buffer.from(CANARY) },
      says: "InvalidArgument SECRET_NOT_SEALED",
    },
    { it: "a version that is taken", change: { version: 1n }, says: "Aborted SECRET_VERSION" },
    {
      it: "a version that is not the next",
      change: { version: 7n },
      says: "Aborted SECRET_VERSION",
    },
    {
      it: "a name that the release does not declare",
      change: { name: "dsn2" },
      says: "InvalidArgument SECRET_UNKNOWN",
    },
    {
      it: "a name that is no name",
      change: { name: "../dsn" },
      says: "InvalidArgument REQUEST_INVALID",
    },
    {
      it: "more than the bound",
      change: { sealed: Buffer.alloc(66_561) },
      says: "InvalidArgument REQUEST_INVALID",
    },
    {
      it: "an agent that is no id",
      change: { agentId: "eu-1" },
      says: "InvalidArgument ID_MALFORMED",
    },
  ])("refuses $it", async ({ change, says }) => {
    await connect("acme-cell");
    const id = await makeInstance(`bad-${randomUUID()}`, "acme-cell");
    const { request } = await enter({ instance: id });
    const refused = owner().setSecret({ ...request, version: 2n, ...change });
    expect(await reasonOf(refused)).toBe(says);
    expect((await owner().listSecrets({ instance: id })).secrets[0]?.version).toBe(1n);
  });

  it("refuses one that the customer keeps on the agent's host", async () => {
    await connect("acme-cell");
    const id = await makeInstance("local", "acme-cell", { localSecrets: { dsn: "etl-dsn" } });
    expect(await reasonOf(enter({ instance: id }))).toBe("FailedPrecondition SECRET_IS_LOCAL");
    expect((await owner().listSecrets({ instance: id })).secrets).toMatchObject([
      { name: "dsn", source: SecretSource.LOCAL, localName: "etl-dsn" },
    ]);
  });

  it("waits for an agent that says what to seal to", async () => {
    const id = await makeInstance("early", "hosted");
    expect(await reasonOf(enter({ instance: id }))).toBe("FailedPrecondition CELL_WITHOUT_AGENT");
    await connect("hosted", false);
    expect(await reasonOf(enter({ instance: id }))).toBe("FailedPrecondition SEALING_KEY_MISSING");
  });
});

describe("a takeover", () => {
  it("leaves the old agent without the secret and asks for it to be set again", async () => {
    const old = await connect("hosted");
    const id = await makeInstance("taken", "hosted");
    const { request } = await enter({ instance: id });
    const next = await connect("hosted");
    const { secrets } = await owner().listSecrets({ instance: id });
    expect(secrets).toMatchObject([{ agentId: old.id, needsReentry: true }]);
    const fenced = { ...old.session, active: false };
    const named = { instanceId: id, name: "dsn", version: 1n };
    expect(await reasonOf(link().secret(fenced, named))).not.toBe("OK");
    expect(await reasonOf(link().secret(next.session, named))).not.toBe("OK");
    const late = owner().setSecret({ ...request, version: 2n });
    expect(await reasonOf(late)).toBe("FailedPrecondition AGENT_NOT_ACTIVE");
    expect((await enter({ instance: id })).answer.secret).toMatchObject({ agentId: next.id });
    const after = (await owner().listSecrets({ instance: id })).secrets;
    expect(after).toMatchObject([{ agentId: next.id, needsReentry: false, version: 2n }]);
  });
});

describe("a sealing key", () => {
  it("that the agent's identity did not sign is not kept, and the agent is as welcome", async () => {
    const { principal, identity } = await joinCell(hub, "globex-cell");
    const { recipient } = await newSealingIdentity();
    const agentId = idOf("agent", principal.agentId);
    const cellId = idOf("cell", principal.cellId);
    const elsewhere = {
      vendorId: idOf("vendor", vendorIdOf(hub)),
      cellId,
      agentId: agentId.slice(0, -1) + (agentId.endsWith("0") ? "1" : "0"),
    };
    for (const sealingKey of [
      signSealingKey(elsewhere, recipient, identity),
      signSealingKey({ ...elsewhere, agentId }, "age1nonsense", identity),
      signSealingKey({ ...elsewhere, agentId }, recipient.padEnd(5_000, "x"), identity),
    ]) {
      const hello = create(HelloSchema, { fencing: principal.fencing, sealingKey });
      expect((await link().admit(principal, hello)).active).toBe(true);
    }
    const rows = await withClient(store.connection("postgres"), "test", async (client) => {
      const sql = "select sealing_key from agent where id = $1";
      return (await client.query(sql, [principal.agentId])).rows;
    });
    expect(rows).toEqual([{ sealing_key: null }]);
  });
});

describe("the wall", () => {
  it("lets a tenant set secrets of its instance in a hosted cell, and sees only that agent's key", async () => {
    const agent = await connect("hosted");
    const id = await makeInstance("inside", "hosted");
    const { answer } = await enter({ instance: id }, acme());
    expect(answer.secret).toMatchObject({
      agentId: agent.id,
      agent: expect.stringMatching(/^hosted-/),
    });
    const foreign = hub.client(SecretService, hub.tokens.globexOwner);
    const stranger = hub.client(SecretService, hub.tokens.strangerOwner);
    const absent = `${id.slice(0, -4)}0000`;
    for (const client of [foreign, stranger]) {
      for (const instance of [id, absent]) {
        const sealed = Buffer.from("x");
        expect(await reasonOf(client.prepareSecret({ instance, name: "dsn" }))).toBe(
          "NotFound NOT_FOUND",
        );
        expect(await reasonOf(client.listSecrets({ instance }))).toBe("NotFound NOT_FOUND");
        const set = { instance, name: "dsn", version: 1n, agentId: agent.id, sealed };
        expect(await reasonOf(client.setSecret(set))).toBe("InvalidArgument SECRET_NOT_SEALED");
        const { recipient } = await newSealingIdentity();
        const place = { instanceId: id, name: "dsn", version: 2n };
        const good = await sealSecret(place, Buffer.from("x"), recipient);
        expect(await reasonOf(client.setSecret({ ...set, sealed: good }))).toBe(
          "NotFound NOT_FOUND",
        );
      }
    }
    const viewer = hub.client(SecretService, hub.tokens.acmeViewer);
    expect((await viewer.listSecrets({ instance: id })).secrets).toHaveLength(1);
    expect(await reasonOf(viewer.prepareSecret({ instance: id, name: "dsn" }))).toBe(
      "PermissionDenied PERMISSION_MISSING",
    );
  });
});

describe("the database", () => {
  it("holds no value that was entered, in no column of no table", async () => {
    const needles = [
      CANARY,
      Buffer.from(CANARY).toString("hex"),
      Buffer.from(CANARY).toString("base64"),
    ];
    await withClient(store.connection("postgres"), "test", async (client) => {
      const { rows: tables } = await client.query<{ name: string }>(
        `select quote_ident(n.nspname) || '.' || quote_ident(c.relname) as name from pg_class c
           join pg_namespace n on n.oid = c.relnamespace
          where n.nspname in ('public', 'wall') and c.relkind = 'r'`,
      );
      expect(tables.map(({ name }) => name)).toContain("public.instance_secret");
      const found: string[] = [];
      let rowsSeen = 0;
      for (const { name } of tables) {
        const { rows } = await client.query<{ row: string }>(
          `select t::text as row from ${name} t`,
        );
        rowsSeen += rows.length;
        if (rows.some(({ row }) => needles.some((needle) => row.includes(needle))))
          found.push(name);
      }
      expect(rowsSeen).toBeGreaterThan(100);
      expect(found).toEqual([]);
    });
  });
});

describe("an agent's identity", () => {
  it("has the fingerprint that its description shows", async () => {
    await connect("acme-cell");
    const id = await makeInstance("shown", "acme-cell");
    const { identityKey, agent } = await owner().prepareSecret({ instance: id, name: "dsn" });
    const shown = await hub.client(AgentService, hub.tokens.owner).getAgent({ agent });
    expect(shown.agent?.status?.identityFingerprint).toBe(identityFingerprint(identityKey));
  });
});
