/** Sealing: only the agent opens, only its own key is sealed to, and only in the place that was meant. */

import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { rawPublicKeyOf, signingKey } from "./dsse.ts";
import {
  isSealed,
  newSealingIdentity,
  openSealingKey,
  openSecret,
  SEALED_BYTES_MAX,
  SECRET_BYTES_MAX,
  sealSecret,
  signSealingKey,
} from "./sealing.ts";

const PLACE = { instanceId: `ins_${"1".repeat(32)}`, name: "dsn", version: 3n };
const AGENT = {
  vendorId: `ven_${"1".repeat(32)}`,
  cellId: `cel_${"1".repeat(32)}`,
  agentId: `agt_${"1".repeat(32)}`,
};
const bytes = (text: string) => new TextEncoder().encode(text);

describe("a sealed secret", () => {
  it("opens for its agent alone and shows nothing of its value", async () => {
    const [mine, other] = [await newSealingIdentity(), await newSealingIdentity()];
    const sealed = await sealSecret(PLACE, bytes("hunter22 ü"), mine.recipient);
    expect(Buffer.from(sealed).includes("hunter22")).toBe(false);
    expect(isSealed(sealed)).toBe(true);
    expect(await openSecret(PLACE, sealed, mine.identity)).toBe("hunter22 ü");
    await expect(openSecret(PLACE, sealed, other.identity)).rejects.toMatchObject({
      reason: "SECRET_UNREADABLE",
      message: "secret dsn: it does not open with this agent's key",
    });
  });

  it.each([
    { it: "another instance", place: { ...PLACE, instanceId: `ins_${"2".repeat(32)}` } },
    { it: "another name", place: { ...PLACE, name: "banner" } },
    { it: "another version", place: { ...PLACE, version: 4n } },
  ])("that was moved to $it does not open", async ({ place }) => {
    const { identity, recipient } = await newSealingIdentity();
    const sealed = await sealSecret(PLACE, bytes("hunter22"), recipient);
    const refusal = openSecret(place, sealed, identity);
    await expect(refusal).rejects.toMatchObject({ reason: "SECRET_UNREADABLE" });
    await expect(refusal).rejects.not.toThrow("hunter22");
  });

  it("does not open once any part of it is altered", async () => {
    const { identity, recipient } = await newSealingIdentity();
    const sealed = await sealSecret(PLACE, bytes("hunter22"), recipient);
    for (let at = 0; at < sealed.length; at += 7) {
      const altered = Uint8Array.from(sealed);
      altered[at] = (altered[at] ?? 0) ^ 1;
      await expect(openSecret(PLACE, altered, identity)).rejects.toMatchObject({
        reason: "SECRET_UNREADABLE",
      });
    }
  });

  it("has at most 64 KiB, is never empty, and fits into the hub's bound when sealed", async () => {
    const { recipient } = await newSealingIdentity();
    const place = { ...PLACE, name: "n".repeat(63), version: 2n ** 63n };
    const sealed = await sealSecret(place, randomBytes(SECRET_BYTES_MAX), recipient);
    expect(sealed.length).toBeLessThanOrEqual(SEALED_BYTES_MAX);
    const tooLarge = sealSecret(PLACE, randomBytes(SECRET_BYTES_MAX + 1), recipient);
    await expect(tooLarge).rejects.toMatchObject({ reason: "SECRET_TOO_LARGE" });
    await expect(sealSecret(PLACE, bytes(""), recipient)).rejects.toMatchObject({
      reason: "SECRET_EMPTY",
    });
  });

  it("is told from a value that was sent as it is", () => {
    for (const text of [
      "",
      "hunter22",
      "age-encryption.org/v1\n",
      "age-encryption.org/v1\n-> scrypt a 18\n",
    ])
      expect(isSealed(bytes(text))).toBe(false);
  });
});

describe("a sealing key", () => {
  const key = signingKey(randomBytes(32));
  const identityKey = rawPublicKeyOf(key.privateKey);

  it("is believed when the agent's identity key has signed it", async () => {
    const { recipient } = await newSealingIdentity();
    const envelope = signSealingKey(AGENT, recipient, key);
    expect(openSealingKey(envelope, identityKey, AGENT)).toBe(recipient);
  });

  it.each([
    {
      it: "signed by another key",
      with: { key: signingKey(randomBytes(32)) },
      says: "UNKNOWN_KEY",
    },
    {
      it: "of another agent",
      with: { agent: { ...AGENT, agentId: "agt_2" } },
      says: "SEALING_KEY_UNFIT",
    },
    {
      it: "of another cell",
      with: { agent: { ...AGENT, cellId: "cel_2" } },
      says: "SEALING_KEY_UNFIT",
    },
    { it: "no X25519 recipient", with: { recipient: "age1pq1xyz" }, says: "SEALING_KEY_UNFIT" },
  ])("$it is refused", async ({ with: changed, says }) => {
    const { recipient } = await newSealingIdentity();
    const signed = { agent: AGENT, recipient, key, ...changed };
    const envelope = signSealingKey(signed.agent, signed.recipient, signed.key);
    expect(() => openSealingKey(envelope, identityKey, AGENT)).toThrow(
      expect.objectContaining({ reason: says }),
    );
  });

  it("that is missing is refused", () => {
    expect(() => openSealingKey(undefined, identityKey, AGENT)).toThrow(
      expect.objectContaining({ reason: "UNSIGNED" }),
    );
  });
});
