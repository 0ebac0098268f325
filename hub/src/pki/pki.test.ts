/** Certificates and requests, good and bad, under a clock of the test's own. */
import "reflect-metadata";
import { type webcrypto, X509Certificate } from "node:crypto";
import { Fault } from "@holdfast/shared/fault.ts";
import * as x509 from "@peculiar/x509";
import { describe, expect, it } from "vitest";
import {
  AgentCertificates,
  agentAuthority,
  issueAgentCertificate,
  RENEW_GRACE_MS,
  verifyAgentCertificate,
} from "./agent-certificate.ts";
import { createAuthority } from "./authority.ts";
import { readCertificateRequest } from "./certificate-request.ts";
import { issueServerCertificate } from "./server-certificate.ts";

const NOW = Date.UTC(2026, 10, 20, 12);
const DAY_MS = 86_400_000;
const VENDOR = "0198a0c0-0000-7000-8000-000000000001";
const OTHER_VENDOR = "0198a0c0-0000-7000-8000-000000000002";
const SUBJECT = {
  vendorId: VENDOR,
  cellId: "0198a0c0-0000-7000-8000-000000000003",
  agentId: "0198a0c0-0000-7000-8000-000000000004",
  fencing: 7n,
  identityKeyId: "00112233aabbccdd",
};
const P256 = { name: "ECDSA", namedCurve: "P-256" };
const SIGNING = { name: "ECDSA", hash: "SHA-256" };

async function keysOf(algorithm: object): Promise<webcrypto.CryptoKeyPair> {
  const keys = await crypto.subtle.generateKey(algorithm as typeof P256, true, ["sign", "verify"]);
  return keys as webcrypto.CryptoKeyPair;
}

async function requestOf(
  keys: webcrypto.CryptoKeyPair,
  extra: Partial<x509.Pkcs10CertificateRequestCreateParams> = {},
): Promise<Uint8Array> {
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    keys,
    signingAlgorithm: SIGNING,
    ...extra,
  });
  return new Uint8Array(request.rawData);
}

function reasonOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof Fault) return error.reason;
    throw error;
  }
  return "none";
}

async function messageOf(work: Promise<unknown>): Promise<string> {
  const outcome = await work.then(
    () => "accepted",
    (error: unknown) => error,
  );
  return outcome instanceof Fault ? `${outcome.code} ${outcome.message}` : String(outcome);
}

describe("agent certificates", () => {
  it("say who calls, for 24 hours, and are to be renewed at half of it", async () => {
    const authority = await createAuthority("agents", NOW);
    const { publicKey } = await readCertificateRequest(await requestOf(await keysOf(P256)));
    const issued = await issueAgentCertificate(authority, SUBJECT, publicKey, [], NOW);
    const [leaf] = issued.certificate.chain;
    const authorities = [agentAuthority(VENDOR, authority.certificate)];
    const agent = verifyAgentCertificate(leaf, authorities, NOW, 0);
    expect(agent).toEqual({ ...SUBJECT, serial: issued.serial, notAfter: NOW + DAY_MS });
    expect(Number(issued.certificate.renewTime?.seconds) * 1000).toBe(NOW + DAY_MS / 2);
  });

  it("are refused when expired, early, of another vendor's authority, or no agent's", async () => {
    const authority = await createAuthority("agents", NOW);
    const other = await createAuthority("agents", NOW);
    const { publicKey } = await readCertificateRequest(await requestOf(await keysOf(P256)));
    const issued = await issueAgentCertificate(authority, SUBJECT, publicKey, [], NOW);
    const [leaf] = issued.certificate.chain;
    const server = await issueServerCertificate(authority, [], NOW);
    const good = [agentAuthority(VENDOR, authority.certificate)];
    const verify = (der: Uint8Array | undefined, authorities = good, at = NOW, grace = 0) =>
      reasonOf(() => verifyAgentCertificate(der, authorities, at, grace));
    const expiry = NOW + DAY_MS;
    expect(verify(leaf, good, expiry)).toBe("none");
    expect(verify(leaf, good, expiry + 1000)).toBe("CERTIFICATE_EXPIRED");
    expect(verify(leaf, good, expiry + 34 * DAY_MS, RENEW_GRACE_MS)).toBe("none");
    expect(verify(leaf, good, expiry + 36 * DAY_MS, RENEW_GRACE_MS)).toBe("CERTIFICATE_EXPIRED");
    expect(verify(leaf, good, NOW - 6 * 60_000)).toBe("CERTIFICATE_NOT_YET_VALID");
    expect(verify(leaf, [agentAuthority(VENDOR, other.certificate)])).toBe("CERTIFICATE_ISSUER");
    expect(verify(leaf, [agentAuthority(OTHER_VENDOR, authority.certificate)])).toBe(
      "CERTIFICATE_ISSUER",
    );
    expect(verify(new X509Certificate(server.certificate).raw)).toBe("CERTIFICATE_PURPOSE");
    expect(verify(authority.certificate)).toBe("CERTIFICATE_PURPOSE");
    expect(verify(undefined)).toBe("CERTIFICATE_MISSING");
    expect(verify(new Uint8Array([1, 2, 3]))).toBe("CERTIFICATE_MALFORMED");
  });

  it("that a listener has seen are judged again where it may have changed: time, and who is trusted", async () => {
    const authority = await createAuthority("agents", NOW);
    const { publicKey } = await readCertificateRequest(await requestOf(await keysOf(P256)));
    const issued = await issueAgentCertificate(authority, SUBJECT, publicKey, [], NOW);
    const [leaf] = issued.certificate.chain;
    const good = [agentAuthority(VENDOR, authority.certificate)];
    const certificates = new AgentCertificates(1);
    const verify = (der: Uint8Array | undefined, authorities = good, at = NOW) =>
      reasonOf(() => certificates.verify(der, authorities, at));
    expect([verify(leaf), verify(leaf)]).toEqual(["none", "none"]);
    expect(verify(leaf, good, NOW + DAY_MS + 1_000)).toBe("CERTIFICATE_EXPIRED");
    expect(verify(leaf, [])).toBe("CERTIFICATE_ISSUER");
    // Of another authority than then, though of the same vendor: a key that was replaced trusts none of the old.
    const replaced = await createAuthority("agents", NOW);
    expect(verify(leaf, [agentAuthority(VENDOR, replaced.certificate)])).toBe("CERTIFICATE_ISSUER");
    expect(verify(undefined)).toBe("CERTIFICATE_MISSING");
    const other = await issueAgentCertificate(authority, SUBJECT, publicKey, [], NOW);
    expect([verify(other.certificate.chain[0]), verify(leaf)]).toEqual(["none", "none"]);
  });
});

describe("a certificate request", () => {
  it("has its names and extensions ignored and reported", async () => {
    const request = await readCertificateRequest(
      await requestOf(await keysOf(P256), {
        name: "CN=root",
        extensions: [
          new x509.SubjectAlternativeNameExtension([
            { type: "dns", value: "*.example.com" },
            { type: "url", value: "spiffe://holdfast/vendor/x" },
          ]),
        ],
      }),
    );
    expect(request.ignored).toEqual([
      "subject CN=root",
      "alternative names *.example.com, spiffe://holdfast/vendor/x",
    ]);
  });

  it("is refused with what is wrong: RSA 1024, SHA-1, CA:true, other curves, forged, too large", async () => {
    const rsa = await keysOf({
      name: "RSASSA-PKCS1-v1_5",
      modulusLength: 1024,
      publicExponent: new Uint8Array([1, 0, 1]),
      hash: "SHA-1",
    });
    const p256 = await keysOf(P256);
    const rsaRequest = await requestOf(rsa, { signingAlgorithm: { name: "RSASSA-PKCS1-v1_5" } });
    expect(await messageOf(readCertificateRequest(rsaRequest))).toMatch(
      /RSA.* 1024; allowed: P-256/,
    );
    const sha1 = await requestOf(p256, { signingAlgorithm: { name: "ECDSA", hash: "SHA-1" } });
    expect(await messageOf(readCertificateRequest(sha1))).toMatch(/SHA-1; allowed: ECDSA SHA-256/);
    const ca = await requestOf(p256, {
      extensions: [new x509.BasicConstraintsExtension(true, 1, true)],
    });
    expect(await messageOf(readCertificateRequest(ca))).toMatch(/CA:true/);
    const p384 = await requestOf(await keysOf({ name: "ECDSA", namedCurve: "P-384" }));
    expect(await messageOf(readCertificateRequest(p384))).toMatch(/P-384; allowed: P-256/);
    const forged = await requestOf(p256);
    forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1;
    expect(await messageOf(readCertificateRequest(forged))).toMatch(/INVALID_ARGUMENT/);
    const names = Array.from({ length: 2_000 }, (_, i) => ({
      type: "dns" as const,
      value: `a${i}.example.com`,
    }));
    const large = await requestOf(p256, {
      extensions: [new x509.SubjectAlternativeNameExtension(names)],
    });
    expect(await messageOf(readCertificateRequest(large))).toMatch(/bytes; at most 16384/);
    expect(await messageOf(readCertificateRequest(new Uint8Array(9)))).toMatch(/no DER/);
  });
});
