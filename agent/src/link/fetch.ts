/** Fetches releases, artefacts and sealed secrets over the link's connection. Verifying what comes is the caller's matter. */

import { create } from "@bufbuild/protobuf";
import { Metadata } from "@grpc/grpc-js";
import {
  FetchArtefactRequestSchema,
  type FetchArtefactResponse,
  FetchReleaseRequestSchema,
  FetchSecretRequestSchema,
  LinkService,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import type { Envelope } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { grpcService } from "@holdfast/shared/grpc-service.ts";
import { callUnary, type HubClient } from "./hub-client.ts";

const FETCH_RELEASE_MS_MAX = 30_000;
const FETCH_SECRET_MS_MAX = 30_000;

export async function fetchRelease(
  client: HubClient,
  releaseDigest: string,
  signal: AbortSignal,
): Promise<Envelope> {
  const { release } = await callUnary(
    client,
    grpcService(LinkService).fetchRelease,
    create(FetchReleaseRequestSchema, { releaseDigest }),
    { deadlineMs: FETCH_RELEASE_MS_MAX, signal },
  );
  if (release !== undefined) return release;
  throw new Fault("NOT_FOUND", "RELEASE_EMPTY", `the hub sent no release for ${releaseDigest}`);
}

export async function fetchSecret(
  client: HubClient,
  secret: Readonly<{ instanceId: string; name: string; version: bigint }>,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const { sealed } = await callUnary(
    client,
    grpcService(LinkService).fetchSecret,
    create(FetchSecretRequestSchema, secret),
    { deadlineMs: FETCH_SECRET_MS_MAX, signal },
  );
  return sealed;
}

/** Reads no faster than the caller takes; leaving early ends the transfer. */
export async function* fetchArtefact(
  client: HubClient,
  digest: string,
  offset: bigint,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const { path, requestSerialize, responseDeserialize } = grpcService(LinkService).fetchArtefact;
  const request = create(FetchArtefactRequestSchema, { digest, offset });
  const call = client.grpc.makeServerStreamRequest(
    path,
    requestSerialize,
    responseDeserialize,
    request,
    new Metadata(),
  );
  // An error event after leaving early has nobody else to hear it, and would end the process.
  call.on("error", () => undefined);
  const cancel = () => call.cancel();
  signal.addEventListener("abort", cancel, { once: true });
  if (signal.aborted) cancel();
  try {
    for await (const response of call) yield (response as FetchArtefactResponse).data;
  } catch (error) {
    throw client.faultOf(error);
  } finally {
    signal.removeEventListener("abort", cancel);
    cancel();
  }
}
