/** The agent's sealing key: made once for agents of any age, and announced so that others can check it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { CertificateSchema } from "@holdfast/proto/holdfast/link/v1/identity_pb.js";
import { rawPublicKeyOf, signingKey } from "@holdfast/shared/dsse.ts";
import { openSealingKey } from "@holdfast/shared/sealing.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Identity } from "../link/port.ts";
import { openStore, type Store } from "../store/database.ts";
import * as secrets from "../store/secrets.ts";
import { announcedSealingKey, ensureSealingIdentity } from "./sealing-key.ts";

const who = { vendorId: "ven_1", cellId: "cel_1", agentId: "agt_1" };
const identitySeed = new Uint8Array(32).fill(5);
const identity: Identity = {
  ...{ ...who, fencing: 1n, tlsKey: new Uint8Array(), identitySeed },
  ...{ certificate: create(CertificateSchema), linkEndpoints: [], identityEndpoints: [] },
};

let directory: string;
let store: Store;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "holdfast-sealing-"));
  store = openStore(join(directory, "agent.db"), 0).store;
});
afterEach(() => {
  store.close();
  rmSync(directory, { recursive: true, force: true });
});

describe("an agent's sealing key", () => {
  it("is made at the first start of an agent that joined without one, and kept for ever", async () => {
    expect(announcedSealingKey(store, identity)).toBeUndefined();
    await ensureSealingIdentity(store);
    const made = secrets.findSealingIdentity(store);
    expect(made?.identity).toMatch(/^AGE-SECRET-KEY-1/);
    await ensureSealingIdentity(store);
    expect(secrets.findSealingIdentity(store)).toEqual(made);
  });

  it("is announced with a signature of the identity key, and without the key itself", async () => {
    await ensureSealingIdentity(store);
    const envelope = announcedSealingKey(store, identity);
    const identityKey = rawPublicKeyOf(signingKey(identitySeed).privateKey);
    const { recipient, identity: secret = "" } = secrets.findSealingIdentity(store) ?? {};
    expect(openSealingKey(envelope, identityKey, who)).toBe(recipient);
    const announced = Buffer.from(envelope?.payload ?? []).toString("latin1");
    expect(announced.includes(secret)).toBe(false);
  });
});
