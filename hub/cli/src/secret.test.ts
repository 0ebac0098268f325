/** Entering secrets: what leaves this machine is sealed, only to an agent that is trusted, and never an argument. */
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import {
  SecretSchema,
  SecretSource,
  type SetSecretRequest,
} from "@holdfast/proto/holdfast/api/v1/secret_pb.js";
import { rawPublicKeyOf, signingKey } from "@holdfast/shared/dsse.ts";
import {
  identityFingerprint,
  newSealingIdentity,
  openSecret,
  signSealingKey,
} from "@holdfast/shared/sealing.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { TestHub, TOKEN, VENDOR_ID } from "./hub.fixture.ts";
import { TestTerminal } from "./terminal.fixture.ts";

const hex = (digit: string) => digit.repeat(32);
const CELL_ID = `cel_${hex("1")}`;
const INSTANCE_ID = `ins_${hex("1")}`;
const CANARY = "hunter22-ü-canary";

let hub: TestHub;
let user: TestTerminal;
let received: SetSecretRequest[];

type Agent = Awaited<ReturnType<typeof newAgent>>;

async function newAgent(name: string, digit: string) {
  const { privateKey, keyId } = signingKey(randomBytes(32));
  const agentId = `agt_${hex(digit)}`;
  const sealing = await newSealingIdentity();
  const identityKey = rawPublicKeyOf(privateKey);
  return {
    ...{ name, agentId, sealing, identityKey, fingerprint: identityFingerprint(identityKey) },
    sealingKey: (recipient = sealing.recipient) =>
      signSealingKey({ vendorId: VENDOR_ID, cellId: CELL_ID, agentId }, recipient, {
        privateKey,
        keyId,
      }),
  };
}

/** The hub says that this is the active agent; a hub that was taken over may name another recipient. */
function offer(agent: Agent, sealingKey = agent.sealingKey()): void {
  const { name, agentId, identityKey } = agent;
  hub.secrets = {
    prepareSecret: () => ({
      ...{ instanceId: INSTANCE_ID, nextVersion: BigInt(received.length + 1) },
      ...{ cell: "eu", cellId: CELL_ID, agent: name, agentId, identityKey, sealingKey },
    }),
    setSecret: (request) => {
      received.push(request);
      return { secret: create(SecretSchema, { name: request.name, version: request.version }) };
    },
  };
}

let first: Agent;

beforeEach(async () => {
  hub = await TestHub.start();
  user = new TestTerminal();
  user.useHub(hub.api, TOKEN);
  user.stdin = `${CANARY}\n`;
  received = [];
  first = await newAgent("eu-1", "1");
  offer(first);
});
afterEach(() => hub.stop());

const set = (...more: string[]) => user.run("secret", "set", "etl", "dsn", ...more);
const pinned = () => readdirSync(join(user.directory, "home/.config/holdfast/known-agents"));

describe("secret set", () => {
  it("sends what only the agent can open, as the version and for the instance that were meant", async () => {
    expect(await set()).toMatchObject({
      code: 0,
      out: "secret/dsn version 1 sealed to eu-1\n",
    });
    const [request] = received;
    expect(request).toMatchObject({ name: "dsn", version: 1n, agentId: first.agentId });
    const sealed = request?.sealed ?? new Uint8Array();
    expect(Buffer.from(sealed).includes(CANARY)).toBe(false);
    const place = { instanceId: INSTANCE_ID, name: "dsn", version: 1n };
    expect(await openSecret(place, sealed, first.sealing.identity)).toBe(CANARY);
  });

  it("takes the value from a file, warns of one that others can read, and never repeats it", async () => {
    user.file("dsn.txt", CANARY);
    const kept = await set("--from-file", "dsn.txt", "-o", "json");
    expect([kept.code, kept.err.includes("warning")]).toEqual([0, false]);
    const open = await set("--from-file", "/etc/hostname");
    expect(open.err).toContain("can be read by other users");
    for (const { out, err } of [kept, open]) expect(out + err).not.toContain(CANARY);
    expect(received).toHaveLength(2);
  });

  it.each([
    { it: "as a further word", args: [CANARY] },
    { it: "with --value", args: ["--value", CANARY] },
    { it: "with --value=", args: [`--value=${CANARY}`] },
    { it: "with --secret=", args: [`--secret=${CANARY}`] },
    { it: "with --from-literal", args: ["--from-literal", CANARY] },
  ])("refuses a value as an argument: $it", async ({ args }) => {
    const { code, out, err } = await set(...args);
    expect([code, out]).toEqual([2, ""]);
    expect(err).toContain("use a file or stdin; arguments are visible to other users");
    expect(err).toContain("next: holdfast secret set INSTANCE NAME --from-file FILE");
    expect(err).not.toContain(CANARY);
    expect(hub.requests).toEqual([]);
  });

  it("refuses a value as an argument: behind the name", async () => {
    const { code, err } = await user.run("secret", "set", "etl", `dsn=${CANARY}`);
    expect(code).toBe(2);
    expect(err).toContain("use a file or stdin; arguments are visible to other users");
    expect(err).not.toContain(CANARY);
  });

  it.each([
    { it: "nothing", value: "\n", says: "SECRET_EMPTY" },
    { it: "more than 64 KiB", value: "x".repeat(65_537), says: "SECRET_TOO_LARGE" },
    { it: "bytes that are no text", value: "a\ufffdb", says: "SECRET_NOT_TEXT" },
  ])("refuses $it before anything is sent", async ({ value, says }) => {
    user.stdin = value;
    const { code, err } = await set();
    expect(code).toBe(2);
    expect(err).toContain(says);
    expect(received).toEqual([]);
  });

  it("reads no more than may be there, whatever the file is", async () => {
    const endless = await set("--from-file", "/dev/zero");
    expect([endless.code, endless.err.split(":")[1]]).toEqual([
      2,
      " INVALID_ARGUMENT SECRET_TOO_LARGE",
    ]);
    const folder = await set("--from-file", ".");
    expect([folder.code, folder.err]).toEqual([2, expect.stringContaining("it is a directory")]);
    const absent = await set("--from-file", "nope");
    expect([absent.code, absent.err]).toEqual([2, expect.stringContaining("no such file")]);
  });

  it("does not let a terminal show the value", async () => {
    user.answer = CANARY;
    const { code, err } = await set();
    expect([code, err]).toEqual([2, expect.stringContaining("a terminal would show it")]);
    expect(user.questions).toEqual([]);
  });
});

describe("the agent that is sealed to", () => {
  it("is trusted at first use, said, and remembered for its owner alone", async () => {
    const begun = await set();
    expect(begun.err).toContain(
      `agent eu-1 of cell eu is new here and trusted from now on: ${first.fingerprint}`,
    );
    expect(begun.err).toContain("holdfast-agent status");
    const again = await set();
    expect([again.code, again.err]).toEqual([0, ""]);
    expect(pinned()).toEqual([`${CELL_ID}.json`]);
    const file = join(user.directory, "home/.config/holdfast/known-agents", `${CELL_ID}.json`);
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  it("whose key its identity did not sign gets nothing: a hub that swaps the recipient is refused", async () => {
    const foreign = await newSealingIdentity();
    const liar = await newAgent("eu-1", "1");
    offer(first, liar.sealingKey(foreign.recipient));
    const { code, err } = await set();
    expect([code, received]).toEqual([4, []]);
    expect(err).toContain("UNKNOWN_KEY");
  });

  it("that took another one's place is sealed to only when its fingerprint was compared", async () => {
    await set();
    const second = await newAgent("eu-2", "2");
    offer(second);
    const refused = await set();
    expect(refused.code).toBe(4);
    expect(refused.err).toContain("AGENT_CHANGED");
    expect(refused.err).toContain(first.fingerprint);
    expect(refused.err).toContain(second.fingerprint);
    const wrong = await set("--agent-fingerprint", first.fingerprint);
    expect(wrong.err).toContain("AGENT_NOT_CONFIRMED");
    const malformed = await set("--agent-fingerprint", "sha256:abc");
    expect([malformed.code, malformed.err]).toEqual([
      2,
      expect.stringContaining("FINGERPRINT_MALFORMED"),
    ]);
    expect(received).toHaveLength(1);
    expect((await set("--agent-fingerprint", second.fingerprint)).code).toBe(0);
    expect((await set()).code).toBe(0);
    expect(received.map(({ agentId }) => agentId)).toEqual([
      first.agentId,
      second.agentId,
      second.agentId,
    ]);
  });

  it("is not forgotten when the file that remembers it is damaged", async () => {
    await set();
    const path = join(user.directory, "home/.config/holdfast/known-agents", `${CELL_ID}.json`);
    expect(JSON.parse(readFileSync(path, "utf8"))).toMatchObject({ agent: "eu-1" });
    user.file(`home/.config/holdfast/known-agents/${CELL_ID}.json`, "{");
    const { code, err } = await set();
    expect(code).not.toBe(0);
    expect(err).toContain("KNOWN_AGENT_DAMAGED");
    expect(received).toHaveLength(1);
  });
});

describe("secret list", () => {
  beforeEach(() => {
    hub.secrets = {
      listSecrets: () => ({
        secrets: [
          { name: "api_key", description: "of the mailer" },
          {
            ...{ name: "dsn", source: SecretSource.SEALED, version: 3n, agent: "eu-1" },
            ...{ setBy: "member/ann", needsReentry: true },
          },
          { name: "licence", source: SecretSource.LOCAL, localName: "etl-licence" },
        ],
      }),
    };
  });

  it("says where each comes from and which has to be set again", async () => {
    const { code, out } = await user.run("secret", "list", "etl");
    expect(code).toBe(0);
    expect(out).toMatch(/api_key +- +not set, unless the agent's host has a file api_key/);
    expect(out).toMatch(/dsn +3 +set it again: sealed to eu-1 .*member\/ann/);
    expect(out).toMatch(/licence +- +file etl-licence on the agent's host/);
    expect(JSON.parse((await user.run("secret", "list", "etl", "-o", "json")).out)).toMatchObject({
      secrets: [{ name: "api_key" }, { version: "3", needsReentry: true }, { name: "licence" }],
    });
  });

  it("stands in the description of the instance", async () => {
    hub.putInstance("etl");
    const { out } = await user.run("describe", "instance", "etl");
    expect(out).toMatch(/Secrets\n +NAME +VERSION +SOURCE[^\n]*\n +api_key/);
  });
});
