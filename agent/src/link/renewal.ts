/** Renews the certificate through the identity endpoint: a new TLS key, proof by the identity key. */
import { createHash, createPrivateKey, sign, X509Certificate } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type Certificate,
  IdentityService,
  RenewRequestSchema,
} from "@holdfast/proto/holdfast/link/v1/identity_pb.js";
import { signingKey } from "@holdfast/shared/dsse.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { grpcService } from "@holdfast/shared/grpc-service.ts";
import { renewProofBytes } from "@holdfast/shared/identity-proof.ts";
import { newTlsKeyRequest } from "./certificate-request.ts";
import { callUnary, clientIdentityOf, hubClient } from "./hub-client.ts";
import type { Identity } from "./port.ts";
import type { CertificateTimes } from "./session.ts";

export const IDENTITY_CALL_MS_MAX = 30_000;

export type Renewed = Readonly<{ tlsKey: Uint8Array; certificate: Certificate }>;

/** Throws the hub's fault, or FAILED_PRECONDITION `CERTIFICATE_UNUSABLE` for an answer that does not fit. */
export async function renewCertificate(
  identity: Identity,
  endpoint: string,
  signal: AbortSignal,
): Promise<Renewed> {
  const { tlsKey, certificateRequest } = await newTlsKeyRequest();
  const { privateKey } = signingKey(identity.identitySeed);
  const identityProof = sign(null, renewProofBytes(certificateRequest), privateKey);
  const client = hubClient(endpoint, clientIdentityOf(identity));
  try {
    const { certificate } = await callUnary(
      client,
      grpcService(IdentityService).renew,
      create(RenewRequestSchema, { certificateRequest, identityProof }),
      { deadlineMs: IDENTITY_CALL_MS_MAX, signal },
    );
    return { tlsKey, certificate: usable(certificate, tlsKey) };
  } finally {
    client.close();
  }
}

/** A certificate that is not for our key, or comes without roots, must not replace one that works. */
export function usable(certificate: Certificate | undefined, tlsKey: Uint8Array): Certificate {
  const refuse = (what: string) =>
    new Fault("FAILED_PRECONDITION", "CERTIFICATE_UNUSABLE", `the hub's answer: ${what}`);
  const [leaf] = certificate?.chain ?? [];
  if (certificate === undefined || leaf === undefined) throw refuse("no certificate");
  if (certificate.roots.length === 0) throw refuse("no roots to trust");
  if (certificate.notAfter === undefined || certificate.renewTime === undefined) {
    throw refuse("no times of validity");
  }
  const key = createPrivateKey({ key: Buffer.from(tlsKey), format: "der", type: "pkcs8" });
  if (!new X509Certificate(leaf).checkPrivateKey(key)) throw refuse("it is for another key");
  return certificate;
}

export function timesOf({ notBefore, renewTime, notAfter }: Certificate): CertificateTimes {
  return {
    notBefore: notBefore === undefined ? 0 : timestampMs(notBefore),
    renewAt: renewTime === undefined ? 0 : timestampMs(renewTime),
    notAfter: notAfter === undefined ? 0 : timestampMs(notAfter),
  };
}

/** SHA-256 of a root's DER as 64 lower-case hex digits, as join tokens carry it. */
export function fingerprintOf(der: Uint8Array): string {
  return createHash("sha256").update(der).digest("hex");
}
