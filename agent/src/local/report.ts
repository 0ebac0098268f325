/** What the local page tells: one object for the socket, the CLI and `-o json`. Pure but for reading the store. */
import { fromBinary, type JsonValue, toJson } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { AssignmentSchema } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import {
  type InstanceStatus,
  InstanceStatusSchema,
} from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import { rawPublicKeyOf, signingKey } from "@holdfast/shared/dsse.ts";
import { formatGeneration, generationOf } from "@holdfast/shared/generation.ts";
import { identityFingerprint } from "@holdfast/shared/sealing.ts";
import type { Kept } from "../reconcile/kept.ts";
import * as assignments from "../store/assignments.ts";
import type { Store } from "../store/database.ts";
import * as facts from "../store/facts.ts";
import * as identities from "../store/identity.ts";
import { Outbox } from "../store/outbox.ts";
import * as statuses from "../store/statuses.ts";
import type { GenerationJson } from "./generation-text.ts";
import { keptHere, type LocalKept } from "./kept.ts";

export type LocalReport = Readonly<{
  running: boolean;
  pid: number | undefined;
  version: string;
  agent: string;
  cell: string;
  vendor: string;
  /** Of the identity key: what the CLI shows when it trusts this agent with a secret. */
  fingerprint: string;
  certificateExpires: string;
  link: Readonly<{ up: boolean; message: string; since: string }> | undefined;
  /** Where a damaged store was put; empty if it never was. */
  damaged: string;
  /** Why nothing can be written; empty while it can. */
  unwritable: string;
  /** Another agent has had this one's cell since then; empty while this one is active. */
  fencedSince: string;
  /** Two processes have this agent's identity, and the hub lets neither in since then; empty otherwise. */
  frozenSince: string;
  /** Records of usage that the hub has not taken yet. */
  usageWaiting: string;
  instances: readonly LocalInstance[];
  /** Data that nothing uses any more. */
  kept: readonly LocalKept[];
}>;

export type LocalInstance = Readonly<{
  id: string;
  name: string;
  wanted: Readonly<{ generation: string; release: string; acceptedAt: string }> | undefined;
  /** As the hub gets it (proto JSON). */
  status: StatusJson;
}>;

export type StepJson = Readonly<{
  id?: string;
  summary?: string;
  state?: string;
  message?: string;
  durationMs?: string;
  stepClass?: string;
  undo?: string;
}>;

export type AttemptJson = Readonly<{
  generation?: GenerationJson;
  releaseVersion?: string;
  state?: string;
  reason?: string;
  message?: string;
  startTime?: string;
  endTime?: string;
  steps?: readonly StepJson[];
  stepsLeftOut?: number;
  resources?: readonly Readonly<{
    id?: string;
    place?: string;
    generation?: GenerationJson;
    message?: string;
  }>[];
}>;

export type DriftJson = Readonly<{
  differences?: readonly Readonly<{
    resource?: string;
    path?: string;
    desired?: JsonValue;
    applied?: JsonValue;
    live?: JsonValue;
    adopted?: boolean;
  }>[];
  leftOut?: number;
  note?: string;
}>;

/** The part of InstanceStatus as proto JSON that people are shown; defaults are left out there. */
export type StatusJson = Readonly<{
  committedGeneration?: GenerationJson;
  committedReleaseVersion?: string;
  conditions?: readonly Readonly<{
    type?: string;
    status?: string;
    reason?: string;
    message?: string;
    lastTransitionTime?: string;
  }>[];
  attempt?: AttemptJson;
  history?: readonly AttemptJson[];
  /** What a removal waits for. */
  finalizers?: readonly Readonly<{ name?: string; reason?: string; message?: string }>[];
  drift?: DriftJson;
  resources?: readonly Readonly<{
    id?: string;
    kind?: string;
    phase?: string;
    message?: string;
    restarts?: string;
  }>[];
}>;

export type ReportFacts = Readonly<{
  running: boolean;
  /** The disk takes no writes. */
  isReadOnly: boolean;
  pid: number | undefined;
  version: string;
  /** Of the running engine; without it the last ones that were stored. */
  statuses: readonly InstanceStatus[] | undefined;
  /** As the running engine saw it last. */
  kept?: readonly Kept[];
}>;

export function localReport(store: Store, known: ReportFacts): LocalReport {
  const identity = identities.find(store);
  const link = facts.findLink(store);
  const fencedSince = facts.findFenced(store);
  const frozenSince = facts.findFrozen(store);
  const notAfter = identity?.certificate.notAfter;
  const all = known.statuses ?? statuses.list(store).map(({ status }) => status);
  return {
    running: known.running,
    pid: known.pid,
    version: known.version,
    agent: identity?.agentId ?? "",
    cell: identity?.cellId ?? "",
    vendor: identity?.vendorId ?? "",
    fingerprint: identity === undefined ? "" : fingerprintOf(identity.identitySeed),
    certificateExpires: notAfter === undefined ? "" : new Date(timestampMs(notAfter)).toISOString(),
    link: link && {
      // Nobody holds the link while no agent runs, whatever was written last.
      up: known.running && link.up,
      message: link.message,
      since: new Date(link.since).toISOString(),
    },
    damaged: facts.findDamaged(store) ?? "",
    unwritable: known.isReadOnly ? "STORE_READ_ONLY" : (store.unwritable ?? ""),
    fencedSince: fencedSince === undefined ? "" : new Date(fencedSince).toISOString(),
    frozenSince: frozenSince === undefined ? "" : new Date(frozenSince).toISOString(),
    usageWaiting: String(new Outbox(store.db).waiting()),
    instances: all.map((status) => instanceOf(store, status)),
    kept: keptHere(store, known.kept, all),
  };
}

function fingerprintOf(identitySeed: Uint8Array): string {
  return identityFingerprint(rawPublicKeyOf(signingKey(identitySeed).privateKey));
}

function instanceOf(store: Store, status: InstanceStatus): LocalInstance {
  const id = status.instanceId;
  const held = assignments.find(store, id);
  const shown = toJson(InstanceStatusSchema, status) as unknown as StatusJson;
  if (held === undefined) return { id, name: "", wanted: undefined, status: shown };
  const assignment = fromBinary(AssignmentSchema, held.envelope.payload);
  return {
    id,
    name: assignment.instanceName,
    wanted: {
      generation: formatGeneration(generationOf(assignment.generation)),
      release: assignment.tombstone === undefined ? assignment.releaseVersion : "(removal)",
      acceptedAt: new Date(held.acceptedAt).toISOString(),
    },
    status: shown,
  };
}
