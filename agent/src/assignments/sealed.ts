/**
 * The sealed secrets that assignments name: fetched before the assignment is accepted, so that an attempt never
 * waits for the link, and kept for what is wanted and what serves. Bytes that are not those that the signed
 * assignment names are not stored; a secret that cannot be had is missing, which is no reason to refuse.
 */
import { fromBinary } from "@bufbuild/protobuf";
import {
  type Assignment,
  AssignmentSchema,
} from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { digestOf } from "@holdfast/shared/digest.ts";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { SEALED_BYTES_MAX } from "@holdfast/shared/sealing.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { FetchPort } from "../link/port.ts";
import * as assignments from "../store/assignments.ts";
import * as attempts from "../store/attempts.ts";
import type { Store } from "../store/database.ts";
import * as secrets from "../store/secrets.ts";

export type SealedDeps = Readonly<{
  store: Store;
  fetch: Pick<FetchPort, "fetchSecret">;
  log: Log;
  signal: AbortSignal;
  agentId: string;
}>;

/** Those of this agent that it does not hold yet. Throws what is retryable, such as a link that is down. */
export async function fetchSealed(
  deps: SealedDeps,
  { instanceId, secrets: named }: Assignment,
): Promise<readonly secrets.HeldSecret[]> {
  const { store, fetch, log, signal, agentId } = deps;
  const fetched: secrets.HeldSecret[] = [];
  for (const { name, version, sealedDigest: digest, agentId: sealedTo } of named) {
    if (digest === "" || sealedTo !== agentId || secrets.isHeld(store, instanceId, digest)) {
      continue;
    }
    try {
      const sealed = await fetch.fetchSecret(instanceId, name, version, signal);
      checkSealed(sealed, digest);
      fetched.push({ instanceId, digest, name, version, sealed });
    } catch (error) {
      if (!(error instanceof Fault) || error.retryable) throw error;
      log.warn(
        { instance: instanceId, name: shown(name), error: causeChain(error) },
        "a sealed value did not come",
      );
    }
  }
  return fetched;
}

function checkSealed(sealed: Uint8Array, wanted: string): void {
  if (sealed.length <= SEALED_BYTES_MAX && digestOf(sealed) === wanted) return;
  throw new Fault(
    "FAILED_PRECONDITION",
    "SECRET_SWAPPED",
    `got ${sealed.length} bytes with ${digestOf(sealed)}; the assignment names ${shown(wanted)}`,
  );
}

/** What neither the wanted nor the serving generation names goes; a running attempt may still need the others. */
export function pruneSealed(store: Store, instanceId: string): void {
  const attempt = attempts.find(store, instanceId);
  if (attempt !== undefined && attempt.phase !== "ENDED") return;
  const payloads = [
    assignments.find(store, instanceId)?.envelope.payload,
    attempts.findCommitted(store, instanceId)?.assignment,
  ];
  const kept = payloads.flatMap((payload) =>
    payload === undefined
      ? []
      : fromBinary(AssignmentSchema, payload).secrets.map(({ sealedDigest }) => sealedDigest),
  );
  secrets.keepOnly(store, instanceId, kept);
}
