/** The walk through a certificate's outline agrees with the library and survives any damage. */
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bytesOf, createAuthority, serialNumber, signLeaf } from "./authority.ts";
import { extensionIn } from "./der.ts";

const OID = "1.3.6.1.4.1.61117.1.1";
const OID_DER = Buffer.from("2b0601040183dd3d0101", "hex");

async function leafWith(value: Uint8Array | undefined): Promise<Uint8Array> {
  const now = Date.UTC(2026, 10, 20);
  const authority = await createAuthority("agents", now);
  const { publicKey } = new x509.X509Certificate(bytesOf(authority.certificate));
  const own = value === undefined ? [] : [new x509.Extension(OID, false, bytesOf(value))];
  return signLeaf(authority, {
    subject: "agent",
    publicKey,
    notBefore: now,
    notAfter: now + 1000,
    serial: serialNumber(),
    extensions: [new x509.ExtendedKeyUsageExtension(["1.3.6.1.5.5.7.3.2"]), ...own],
  });
}

describe("an extension", () => {
  it("is found as the library finds it, whatever its length, and only where it is", async () => {
    for (const length of [0, 1, 127, 128, 255, 256, 5_000]) {
      const value = new Uint8Array(length).fill(7);
      const leaf = await leafWith(value);
      const found = Buffer.from(extensionIn(leaf, OID_DER) ?? []);
      const known = new x509.X509Certificate(bytesOf(leaf)).getExtension(OID);
      expect(found).toEqual(Buffer.from(value));
      expect(found).toEqual(Buffer.from(known?.value ?? new ArrayBuffer(1)));
    }
    expect(extensionIn(await leafWith(undefined), OID_DER)).toBeUndefined();
  });

  it("in damaged bytes is found, absent or refused, but never breaks anything", async () => {
    const leaf = await leafWith(new Uint8Array(40));
    fc.assert(
      fc.property(fc.nat(leaf.length - 1), fc.nat(255), fc.nat(leaf.length), (at, byte, end) => {
        const damaged = Uint8Array.from(leaf);
        damaged[at] = byte;
        try {
          extensionIn(damaged.subarray(0, end), OID_DER);
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
