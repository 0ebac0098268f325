/**
 * Reads an agent's certificate request (PKCS #10). Takes the public key and the proof that its holder made
 * the request; every name or extension in it is ignored, and what was ignored is reported. Refuses what no
 * agent of ours would send: other keys than P-256, weak signatures, a wish to be an authority.
 */
import "reflect-metadata";
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import * as x509 from "@peculiar/x509";
import { bytesOf } from "./authority.ts";

export const CERTIFICATE_REQUEST_BYTES_MAX = 16 * 1024;
const IGNORED_SHOWN_MAX = 10;

const BASIC_CONSTRAINTS = "2.5.29.19";

export type CertificateRequest = Readonly<{
  publicKey: x509.PublicKey;
  /** What was asked for and not given, one line each, for the audit; at most 10. */
  ignored: readonly string[];
}>;

/** Throws INVALID_ARGUMENT `CERTIFICATE_REQUEST_REFUSED` that names what is wrong. */
export async function readCertificateRequest(der: Uint8Array): Promise<CertificateRequest> {
  if (der.length > CERTIFICATE_REQUEST_BYTES_MAX) {
    throw refused(`${der.length} bytes; at most ${CERTIFICATE_REQUEST_BYTES_MAX}`);
  }
  const { request, extensions } = parsed(der);
  checkKey(request.publicKey);
  checkSignatureAlgorithm(request.signatureAlgorithm);
  checkNoAuthority(extensions);
  if (!(await request.verify().catch(() => false))) {
    throw refused("its signature does not fit its public key");
  }
  return { publicKey: request.publicKey, ignored: ignoredParts(request.subject, extensions) };
}

type Parsed = Readonly<{
  request: x509.Pkcs10CertificateRequest;
  extensions: readonly x509.Extension[];
}>;

function parsed(der: Uint8Array): Parsed {
  try {
    const request = new x509.Pkcs10CertificateRequest(bytesOf(der));
    // Extensions are parsed on first use only; whatever is malformed is to be found here.
    const { extensions } = request;
    return { request, extensions };
  } catch (error) {
    throw refused("it is no DER of a PKCS #10 request", error);
  }
}

function checkKey(key: x509.PublicKey): void {
  const algorithm = key.algorithm as { name?: string; namedCurve?: string; modulusLength?: number };
  if (algorithm.name?.startsWith("EC") && algorithm.namedCurve === "P-256") return;
  const size = algorithm.namedCurve ?? algorithm.modulusLength ?? "";
  throw refused(`key ${shown(`${algorithm.name ?? "unknown"} ${size}`.trim())}; allowed: P-256`);
}

function checkSignatureAlgorithm(algorithm: x509.HashedAlgorithm): void {
  const { name, hash } = algorithm as { name?: string; hash?: { name?: string } };
  if (name === "ECDSA" && hash?.name === "SHA-256") return;
  throw refused(`signed with ${shown(`${name} ${hash?.name}`)}; allowed: ECDSA SHA-256`);
}

function checkNoAuthority(extensions: readonly x509.Extension[]): void {
  const constraints = extensions.find(({ type }) => type === BASIC_CONSTRAINTS);
  if (constraints instanceof x509.BasicConstraintsExtension && constraints.ca) {
    throw refused("it asks for CA:true; agents are never authorities");
  }
}

function ignoredParts(name: string, extensions: readonly x509.Extension[]): readonly string[] {
  const subject = name === "" ? [] : [`subject ${shown(name)}`];
  const others = extensions.map((extension) =>
    extension instanceof x509.SubjectAlternativeNameExtension
      ? `alternative names ${shown(extension.names.items.map(({ value }) => value).join(", "))}`
      : `extension ${shown(extension.type)}`,
  );
  return [...subject, ...others].slice(0, IGNORED_SHOWN_MAX);
}

function refused(what: string, cause?: unknown): Fault {
  return new Fault(
    "INVALID_ARGUMENT",
    "CERTIFICATE_REQUEST_REFUSED",
    `certificate_request: ${what}`,
    cause === undefined ? {} : { cause },
  );
}
