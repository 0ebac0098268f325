/**
 * TLS keys and certificate requests of the agent. The X.509 library is loaded on first use: an agent needs it
 * twice a day.
 */
import { generateKeyPairSync } from "node:crypto";

export type TlsKeyRequest = Readonly<{
  /** PKCS #8 DER of a new P-256 key. */
  tlsKey: Uint8Array;
  /** PKCS #10 DER, signed by that key; it names nobody, the hub decides whom the certificate names. */
  certificateRequest: Uint8Array;
}>;

export async function newTlsKeyRequest(): Promise<TlsKeyRequest> {
  await import("reflect-metadata");
  const { Pkcs10CertificateRequestGenerator } = await import("@peculiar/x509");
  const algorithm = { name: "ECDSA", namedCurve: "P-256" };
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const request = await Pkcs10CertificateRequestGenerator.create({
    keys,
    signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
  });
  return {
    tlsKey: new Uint8Array(await crypto.subtle.exportKey("pkcs8", keys.privateKey)),
    certificateRequest: new Uint8Array(request.rawData),
  };
}

/** 32-byte seed of a new Ed25519 key. */
export function newIdentitySeed(): Uint8Array {
  const { privateKey } = generateKeyPairSync("ed25519");
  const der = privateKey.export({ format: "der", type: "pkcs8" });
  // The seed ends the PKCS #8 structure of RFC 8410.
  return new Uint8Array(der.subarray(-32));
}
