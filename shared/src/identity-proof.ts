/**
 * The bytes that an agent signs with its identity key when it asks for a certificate, so that a request
 * cannot be moved to another token or another agent. Both ends compute them here.
 */
import { sha256 } from "./digest.ts";

/** For EnrollRequest.identity_proof. */
export function enrollProofBytes(joinToken: string, certificateRequest: Uint8Array): Uint8Array {
  return Buffer.concat([
    Buffer.from("holdfast.enroll.v1"),
    sha256(joinToken),
    sha256(certificateRequest),
  ]);
}

/** For RenewRequest.identity_proof. */
export function renewProofBytes(certificateRequest: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from("holdfast.renew.v1"), sha256(certificateRequest)]);
}
