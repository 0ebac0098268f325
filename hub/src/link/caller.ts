/** Who is calling: what the certificate of the connection says, and nothing that a message says. */
import type { ServerUnaryCall } from "@grpc/grpc-js";
import type { Peer } from "./port.ts";

type Call = Pick<ServerUnaryCall<unknown, unknown>, "getAuthContext" | "getPeer">;

/** DER of the peer's certificate. */
export function certificateOf(call: Call): Uint8Array | undefined {
  return call.getAuthContext().sslPeerCertificate?.raw;
}

export function peerOf(call: Call): Peer {
  const peer = call.getPeer();
  const colon = peer.lastIndexOf(":");
  return { address: colon === -1 ? peer : peer.slice(0, colon) };
}
