/** Who is calling: what the certificate of the connection says, and nothing that a message says. */
import type { ServerUnaryCall } from "@grpc/grpc-js";
import {
  type AgentAuthority,
  type VerifiedAgent,
  verifyAgentCertificate,
} from "../pki/agent-certificate.ts";
import type { Peer } from "./port.ts";

type Call = Pick<ServerUnaryCall<unknown, unknown>, "getAuthContext" | "getPeer">;

/**
 * Checked anew at each call: a resumed TLS session skips the check, and a connection may outlive its
 * certificate. Throws as verifyAgentCertificate().
 */
export function callerOf(
  call: Call,
  authorities: readonly AgentAuthority[],
  now: number,
  graceMs = 0,
): VerifiedAgent {
  const der = call.getAuthContext().sslPeerCertificate?.raw;
  return verifyAgentCertificate(der, authorities, now, graceMs);
}

export function peerOf(call: Call): Peer {
  const peer = call.getPeer();
  const colon = peer.lastIndexOf(":");
  return { address: colon === -1 ? peer : peer.slice(0, colon) };
}
