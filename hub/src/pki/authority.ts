/**
 * Certificate authorities of the hub: one for its own servers, and one for each vendor's agents. Makes
 * them and signs with them; where the keys are kept is the caller's matter. Keys are P-256, nothing else.
 */
import "reflect-metadata";
import { randomBytes, type webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";

/** A root and its key, as the secret store keeps it: DER and PKCS #8 DER. */
export type Authority = Readonly<{ certificate: Uint8Array; privateKey: Uint8Array }>;

export const P256 = { name: "ECDSA", namedCurve: "P-256" } as const;
export const SIGNING = { name: "ECDSA", hash: "SHA-256" } as const;

const DAY_MS = 86_400_000;
/** Roots outlive the hub's hardware; they are replaced by trusting old and new at once, not by expiry. */
const AUTHORITY_LIFE_MS = 3650 * DAY_MS;
/** Certificates are valid this long before they are made: clocks of agents may be slow. */
export const BACKDATE_MS = 5 * 60_000;

/** A new self-signed root. `name` is for people; `now` is wall-clock milliseconds. */
export async function createAuthority(name: string, now: number): Promise<Authority> {
  const keys = await crypto.subtle.generateKey(P256, true, ["sign", "verify"]);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: [{ CN: [name] }],
    notBefore: new Date(now - BACKDATE_MS),
    notAfter: new Date(now + AUTHORITY_LIFE_MS),
    signingAlgorithm: SIGNING,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
        true,
      ),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return {
    certificate: new Uint8Array(certificate.rawData),
    privateKey: await exportKey(keys.privateKey),
  };
}

export type LeafParams = Readonly<{
  subject: string;
  publicKey: webcrypto.CryptoKey | x509.PublicKey;
  notBefore: number;
  notAfter: number;
  serial: string;
  extensions: readonly x509.Extension[];
}>;

/** DER of a leaf signed by the authority. */
export async function signLeaf(authority: Authority, leaf: LeafParams): Promise<Uint8Array> {
  const root = new x509.X509Certificate(bytesOf(authority.certificate));
  const signingKey = await crypto.subtle.importKey(
    "pkcs8",
    bytesOf(authority.privateKey),
    P256,
    false,
    ["sign"],
  );
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: leaf.serial,
    subject: [{ CN: [leaf.subject] }],
    issuer: root.subjectName.toJSON(),
    notBefore: new Date(leaf.notBefore),
    notAfter: new Date(leaf.notAfter),
    signingAlgorithm: SIGNING,
    publicKey: leaf.publicKey,
    signingKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      await x509.AuthorityKeyIdentifierExtension.create(root.publicKey),
      ...leaf.extensions,
    ],
  });
  return new Uint8Array(certificate.rawData);
}

/** 16 random bytes, positive as a DER integer, lower-case hex. */
export function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString("hex");
}

export async function exportKey(key: webcrypto.CryptoKey): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.exportKey("pkcs8", key));
}

/** The library and the platform's crypto want bytes over an ArrayBuffer of their own. */
export function bytesOf(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}
