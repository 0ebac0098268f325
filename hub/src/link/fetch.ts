/** Releases and artefacts by digest, and sealed secrets by name, for agents that were admitted. Bytes go out as fast as the agent takes them. */

import { create } from "@bufbuild/protobuf";
import type { ServerUnaryCall, ServerWritableStream } from "@grpc/grpc-js";
import {
  type FetchArtefactRequest,
  type FetchArtefactResponse,
  FetchArtefactResponseSchema,
  type FetchReleaseRequest,
  type FetchReleaseResponse,
  FetchReleaseResponseSchema,
  type FetchSecretRequest,
  type FetchSecretResponse,
  FetchSecretResponseSchema,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { parseDigest } from "@holdfast/shared/digest.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import type { VerifiedAgent } from "../pki/agent-certificate.ts";
import { written } from "./grpc-status.ts";
import { ARTEFACT_CHUNK_BYTES_MAX } from "./limits.ts";
import type { AgentSession, LinkHub } from "./port.ts";

export type ReleaseCall = ServerUnaryCall<FetchReleaseRequest, FetchReleaseResponse>;
export type ArtefactCall = ServerWritableStream<FetchArtefactRequest, FetchArtefactResponse>;

export type SecretCall = ServerUnaryCall<FetchSecretRequest, FetchSecretResponse>;

export type FetchDeps = Readonly<{
  hub: LinkHub;
  callerOf: (call: ReleaseCall | ArtefactCall | SecretCall) => VerifiedAgent;
}>;

/** A fenced or frozen agent has nothing more to do that it could need anything for. */
export async function activeAgent(hub: LinkHub, caller: VerifiedAgent): Promise<AgentSession> {
  const session = await hub.admit(caller, undefined);
  if (session.active) return session;
  throw new Fault("PERMISSION_DENIED", "AGENT_FENCED", "another agent has taken over this cell");
}

export async function fetchRelease(
  call: ReleaseCall,
  { hub, callerOf }: FetchDeps,
): Promise<FetchReleaseResponse> {
  const digest = parseDigest(call.request.releaseDigest, "release_digest");
  const session = await activeAgent(hub, callerOf(call));
  return create(FetchReleaseResponseSchema, { release: await hub.release(session, digest) });
}

export async function fetchArtefact(
  call: ArtefactCall,
  { hub, callerOf }: FetchDeps,
): Promise<void> {
  const digest = parseDigest(call.request.digest);
  const session = await activeAgent(hub, callerOf(call));
  const stop = new AbortController();
  call.once("cancelled", () => stop.abort());
  call.once("close", () => stop.abort());
  for await (const bytes of hub.artefact(session, digest, call.request.offset)) {
    for (let at = 0; at < bytes.length; at += ARTEFACT_CHUNK_BYTES_MAX) {
      const data = bytes.subarray(at, at + ARTEFACT_CHUNK_BYTES_MAX);
      await written(call, create(FetchArtefactResponseSchema, { data }), stop.signal);
      if (stop.signal.aborted) return;
    }
  }
}

export async function fetchSecret(
  call: SecretCall,
  { hub, callerOf }: FetchDeps,
): Promise<FetchSecretResponse> {
  const session = await activeAgent(hub, callerOf(call));
  return create(FetchSecretResponseSchema, { sealed: await hub.secret(session, call.request) });
}
