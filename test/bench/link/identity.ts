/** Certificates for the yardsticks as the link has them: a server's and an agent's, P-256. All as PEM. */
import { randomUUID } from "node:crypto";
import { pemOf } from "@holdfast/shared/pem.ts";
import { newTlsKeyRequest } from "../../../agent/src/link/certificate-request.ts";
import { issueAgentCertificate } from "../../../hub/src/pki/agent-certificate.ts";
import { createAuthority } from "../../../hub/src/pki/authority.ts";
import { readCertificateRequest } from "../../../hub/src/pki/certificate-request.ts";
import { issueServerCertificate } from "../../../hub/src/pki/server-certificate.ts";

export type Identity = Readonly<{ ca: string; certificate: string; key: string }>;

/** Both ends trust one authority. */
export async function makeIdentities(): Promise<Readonly<{ server: Identity; client: Identity }>> {
  const now = Date.now();
  const authority = await createAuthority("bench", now);
  const ca = pemOf("CERTIFICATE", authority.certificate);
  const server = await issueServerCertificate(authority, ["localhost", "127.0.0.1"], now);
  const { tlsKey, certificateRequest } = await newTlsKeyRequest();
  const { publicKey } = await readCertificateRequest(certificateRequest);
  const subject = {
    ...{ vendorId: randomUUID(), cellId: randomUUID(), agentId: randomUUID() },
    ...{ fencing: 1n, identityKeyId: "bench" },
  };
  const roots = [authority.certificate];
  const issued = await issueAgentCertificate(authority, subject, publicKey, roots, now);
  const [leaf = new Uint8Array()] = issued.certificate.chain;
  return {
    server: { ca, certificate: server.certificate, key: server.privateKey },
    client: { ca, certificate: pemOf("CERTIFICATE", leaf), key: pemOf("PRIVATE KEY", tlsKey) },
  };
}
