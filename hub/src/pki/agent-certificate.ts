/**
 * An agent's certificate: issued for 24 h from its request, and read back into who is calling. Verification
 * is our own, beside that of TLS: a resumed TLS session skips the check, and an expired certificate still
 * serves to renew itself. A vendor's authority vouches for that vendor's agents only.
 */
import "reflect-metadata";
import { type KeyObject, X509Certificate } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type Certificate,
  CertificateSchema,
} from "@holdfast/proto/holdfast/link/v1/identity_pb.js";
import { digestOf } from "@holdfast/shared/digest.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { isUuid } from "@holdfast/shared/ids.ts";
import { shown } from "@holdfast/shared/text.ts";
import * as x509 from "@peculiar/x509";
import type { AgentPrincipal } from "../link/port.ts";
import { type Authority, BACKDATE_MS, serialNumber, signLeaf } from "./authority.ts";
import { extensionIn } from "./der.ts";

export const AGENT_CERTIFICATE_LIFE_MS = 24 * 3_600_000;
/** How long after its end a certificate may still renew itself: P12 of the reliability promises, with a margin. */
export const RENEW_GRACE_MS = 35 * 86_400_000;

/** Private extension: JSON {fencing, identityKeyId} in a UTF8String. */
const BINDING_OID = "1.3.6.1.4.1.61117.1.1";
/** The same as the content of a DER OBJECT IDENTIFIER. */
const BINDING_OID_DER = Buffer.from("2b0601040183dd3d0101", "hex");
const UTF8_STRING_TAG = 0x0c;
const BINDING_BYTES_MAX = 127;
const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";
const SPIFFE = /^URI:spiffe:\/\/holdfast\/vendor\/([^/,]+)\/cell\/([^/,]+)\/agent\/([^/,]+)$/;

export type AgentSubject = Readonly<{
  vendorId: string;
  cellId: string;
  agentId: string;
  fencing: bigint;
  /** Of the Ed25519 identity key, as by keyIdOf(). */
  identityKeyId: string;
}>;

export type IssuedCertificate = Readonly<{
  certificate: Certificate;
  serial: string;
  notAfter: number;
}>;

/**
 * `publicKey` comes from readCertificateRequest(). `serverRoots` are DER of the roots of the hub's servers,
 * which the agent is to trust from now on.
 */
export async function issueAgentCertificate(
  authority: Authority,
  subject: AgentSubject,
  publicKey: x509.PublicKey,
  serverRoots: readonly Uint8Array[],
  now: number,
): Promise<IssuedCertificate> {
  const serial = serialNumber();
  // Certificates have whole seconds; rounding here keeps the message and the certificate equal.
  const start = Math.floor(now / 1000) * 1000;
  const notBefore = start - BACKDATE_MS;
  const notAfter = start + AGENT_CERTIFICATE_LIFE_MS;
  const leaf = await signLeaf(authority, {
    subject: `agent ${subject.agentId}`,
    publicKey,
    notBefore,
    notAfter,
    serial,
    extensions: [
      new x509.ExtendedKeyUsageExtension([CLIENT_AUTH]),
      new x509.SubjectAlternativeNameExtension([{ type: "url", value: spiffeId(subject) }]),
      new x509.Extension(BINDING_OID, false, encodeBinding(subject)),
    ],
  });
  const certificate = create(CertificateSchema, {
    chain: [leaf],
    roots: [...serverRoots],
    notBefore: timestampFromMs(notBefore),
    notAfter: timestampFromMs(notAfter),
    renewTime: timestampFromMs(start + AGENT_CERTIFICATE_LIFE_MS / 2),
  });
  return { certificate, serial, notAfter };
}

/** What a good certificate says. */
export type VerifiedAgent = AgentPrincipal & Readonly<{ identityKeyId: string; notAfter: number }>;

/** Made once for each vendor and kept: reading the key anew for each call would cost more than the check. */
export type AgentAuthority = Readonly<{
  vendorId: string;
  certificate: X509Certificate;
  publicKey: KeyObject;
}>;

export function agentAuthority(vendorId: string, der: Uint8Array): AgentAuthority {
  const certificate = new X509Certificate(der);
  return { vendorId, certificate, publicKey: certificate.publicKey };
}

/**
 * Throws UNAUTHENTICATED with reason CERTIFICATE_MISSING, _MALFORMED, _PURPOSE, _ISSUER, _NOT_YET_VALID or
 * _EXPIRED. With `graceMs` a certificate that ended up to so long ago is still good.
 */
export function verifyAgentCertificate(
  der: Uint8Array | undefined,
  authorities: readonly AgentAuthority[],
  now: number,
  graceMs: number,
): VerifiedAgent {
  if (der === undefined) throw refused("MISSING", "none of this hub's was presented");
  return inTime(judged(der, authorities), now, graceMs);
}

/** What does not change about a certificate while the authority that issued it is trusted. */
type Judged = Readonly<{ agent: VerifiedAgent; notBefore: number; authority: AgentAuthority }>;

function judged(der: Uint8Array, authorities: readonly AgentAuthority[]): Judged {
  const { leaf, agent } = readAgent(der);
  const own = authorities.filter(({ vendorId }) => vendorId === agent.vendorId);
  const authority = own.find((each) => isIssuedBy(leaf, each));
  if (authority === undefined) {
    throw refused("ISSUER", "it was not issued by this hub for that vendor");
  }
  return { agent, notBefore: Date.parse(leaf.validFrom), authority };
}

function inTime({ agent, notBefore }: Judged, now: number, graceMs: number): VerifiedAgent {
  const at = (ms: number) => new Date(ms).toISOString();
  if (now < notBefore) throw refused("NOT_YET_VALID", `valid from ${at(notBefore)}`);
  if (now > agent.notAfter + graceMs) throw refused("EXPIRED", `expired ${at(agent.notAfter)}`);
  return agent;
}

/**
 * The same, for a listener that sees a certificate at each call: signature and names of those that it has seen are
 * not judged again, their time and the trust in their authority are. Certificates that were refused are not remembered.
 */
export class AgentCertificates {
  readonly #max: number;
  readonly #judged = new Map<string, Judged>();

  /** The one that was seen first is forgotten first. */
  constructor(max: number) {
    this.#max = max;
  }

  verify(
    der: Uint8Array | undefined,
    authorities: readonly AgentAuthority[],
    now: number,
  ): VerifiedAgent {
    if (der === undefined) return verifyAgentCertificate(der, authorities, now, 0);
    const key = digestOf(der);
    const known = this.#judged.get(key);
    if (known !== undefined && authorities.includes(known.authority)) return inTime(known, now, 0);
    const fresh = judged(der, authorities);
    this.#remember(key, fresh);
    return inTime(fresh, now, 0);
  }

  #remember(key: string, certificate: Judged): void {
    this.#judged.set(key, certificate);
    const [oldest] = this.#judged.keys();
    if (this.#judged.size > this.#max && oldest !== undefined) this.#judged.delete(oldest);
  }
}

function isIssuedBy(leaf: X509Certificate, { certificate, publicKey }: AgentAuthority): boolean {
  return certificate.ca && leaf.checkIssued(certificate) && leaf.verify(publicKey);
}

function readAgent(der: Uint8Array): Readonly<{ leaf: X509Certificate; agent: VerifiedAgent }> {
  const leaf = parsed(der);
  if (leaf.ca) throw refused("PURPOSE", "it is an authority's");
  if (!(leaf.keyUsage ?? []).includes(CLIENT_AUTH)) {
    throw refused("PURPOSE", "it is not for client authentication");
  }
  const [, vendorId, cellId, agentId] = SPIFFE.exec(leaf.subjectAltName ?? "") ?? [];
  if (!isId(vendorId) || !isId(cellId) || !isId(agentId)) {
    throw refused("MALFORMED", `it names ${shown(leaf.subjectAltName ?? "nobody")}`);
  }
  const agent = {
    vendorId,
    cellId,
    agentId,
    serial: leaf.serialNumber.toLowerCase(),
    notAfter: Date.parse(leaf.validTo),
    ...decodeBinding(der),
  };
  return { leaf, agent };
}

function isId(text: string | undefined): text is string {
  return text !== undefined && isUuid(text);
}

function parsed(der: Uint8Array): X509Certificate {
  try {
    return new X509Certificate(der);
  } catch (error) {
    throw refused("MALFORMED", "it is no DER of a certificate", error);
  }
}

function spiffeId({ vendorId, cellId, agentId }: AgentSubject): string {
  return `spiffe://holdfast/vendor/${vendorId}/cell/${cellId}/agent/${agentId}`;
}

function encodeBinding({ fencing, identityKeyId }: AgentSubject): Uint8Array<ArrayBuffer> {
  const json = Buffer.from(JSON.stringify({ fencing: fencing.toString(), identityKeyId }));
  // One length byte is enough: 20 digits and 16 hex digits make less than 128 bytes.
  return new Uint8Array([UTF8_STRING_TAG, json.length, ...json]);
}

function decodeBinding(der: Uint8Array): Readonly<{ fencing: bigint; identityKeyId: string }> {
  try {
    const value = Buffer.from(extensionIn(der, BINDING_OID_DER) ?? new Uint8Array());
    if (value[0] !== UTF8_STRING_TAG || value.length > BINDING_BYTES_MAX) throw new RangeError();
    const { fencing, identityKeyId } = JSON.parse(value.subarray(2).toString("utf8"));
    if (typeof fencing !== "string" || typeof identityKeyId !== "string") throw new TypeError();
    return { fencing: BigInt(fencing), identityKeyId };
  } catch (error) {
    throw refused("MALFORMED", "its fencing number cannot be read", error);
  }
}

function refused(what: string, message: string, cause?: unknown): Fault {
  return new Fault(
    "UNAUTHENTICATED",
    `CERTIFICATE_${what}`,
    `client certificate: ${message}`,
    cause === undefined ? {} : { cause },
  );
}
