/**
 * A hub and agents for tests of the link: real TLS, real grpc, real certificates; what lies behind the ports
 * is small and in memory. Every world has keys, ports and clocks of its own.
 */
import { verify } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  EnrollResponseSchema,
  RenewResponseSchema,
} from "@holdfast/proto/holdfast/link/v1/identity_pb.js";
import {
  type BatchAck,
  BatchAckSchema,
  ControlResponseSchema,
  type Fenced,
  type Held,
  HeldSchema,
  type Hello,
  OpenedReason,
  OpenedSchema,
  type StatusReport,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import {
  type Action,
  type ActionResult,
  ActionState,
  type Rehearsal,
} from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import {
  AssignmentSchema,
  FreshnessSchema,
} from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { type Envelope, EnvelopeSchema } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { BatchSchema, type SignedBatch } from "@holdfast/proto/holdfast/model/v1/reading_pb.js";
import type { Telemetry } from "@holdfast/proto/holdfast/model/v1/telemetry_pb.js";
import { type Clock, systemClock } from "@holdfast/shared/clock.ts";
import { digestOf } from "@holdfast/shared/digest.ts";
import { keyIdOf, signEnvelope, signingKey, verificationKey } from "@holdfast/shared/dsse.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { enrollProofBytes, renewProofBytes } from "@holdfast/shared/identity-proof.ts";
import { idOf, uuidV7 } from "@holdfast/shared/ids.ts";
import { encodeJoinToken, parseJoinToken } from "@holdfast/shared/join-token.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { fingerprintOf } from "../../agent/src/link/renewal.ts";
import { OutputViews } from "../../hub/src/app/output-views.ts";
import type { AdmissionBounds } from "../../hub/src/link/admission.ts";
import { startIdentityServer } from "../../hub/src/link/identity-server.ts";
import type { LinkTiming } from "../../hub/src/link/limits.ts";
import { ADMISSION, startLinkServer } from "../../hub/src/link/link-server.ts";
import type {
  AgentPrincipal,
  AgentSession,
  Expelled,
  IdentityHub,
  LinkHub,
  News,
  SecretName,
  StoredFrame,
} from "../../hub/src/link/port.ts";
import {
  type AgentAuthority,
  agentAuthority,
  issueAgentCertificate,
} from "../../hub/src/pki/agent-certificate.ts";
import { createAuthority } from "../../hub/src/pki/authority.ts";
import { readCertificateRequest } from "../../hub/src/pki/certificate-request.ts";
import { issueServerCertificate } from "../../hub/src/pki/server-certificate.ts";
import { recordingWatch } from "./recording-watch.ts";

export const quiet: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => quiet,
};

/** The system's clock with a wall that tests move. */
export class MovableClock implements Clock {
  offsetMs = 0;
  aheadMs = 0;
  now = () => systemClock.now() + this.offsetMs;
  monotonic = () => systemClock.monotonic() + this.aheadMs;
  sleep = (ms: number, signal?: AbortSignal) => systemClock.sleep(ms, signal);
}

const DEADLINE_MS = 60_000;

/** Waits until `probe` gives a value; fails with what was waited for. */
export async function eventually<T>(what: string, probe: () => T | undefined | false): Promise<T> {
  const until = performance.now() + DEADLINE_MS;
  for (;;) {
    const value = probe();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > until) throw new Error(`not within ${DEADLINE_MS} ms: ${what}`);
    await systemClock.sleep(5);
  }
}

export function uuid(): string {
  return uuidV7(Date.now(), crypto.getRandomValues(new Uint8Array(10)));
}

/** Use cases behind the link, in memory. */
export class MemoryHub implements LinkHub {
  readonly incarnation = 1n;
  readonly key = signingKey(crypto.getRandomValues(new Uint8Array(32)));
  readonly frames = new Map<string, { generation: bigint; frame: StoredFrame }>();
  readonly hellos: Hello[] = [];
  readonly statuses: StatusReport[] = [];
  readonly batches: SignedBatch[] = [];
  readonly asked: (readonly Held[])[] = [];
  readonly releases = new Map<string, Envelope>();
  readonly artefacts = new Map<string, Uint8Array>();
  /** Sealed ones, by instance, name and version. */
  readonly secrets = new Map<string, Uint8Array>();
  readonly leftSessions: bigint[] = [];
  readonly mismatches: string[] = [];
  readonly actions = new Map<string, Action>();
  readonly results: ActionResult[] = [];
  readonly rehearsals: Rehearsal[] = [];
  ringAction: (cell: { vendorId: string; cellId: string }) => void = () => undefined;
  ask: Parameters<LinkHub["onRehearsal"]>[0] | undefined;
  readonly views = new OutputViews(systemClock);
  readonly outputTold = this.views.answered.bind(this.views);
  readonly onShowOutput = this.views.attach.bind(this.views);
  keySets: Envelope[] = [];
  freshnessMs = 3_600_000;
  freshnessNotes = 0;
  /** Thrown by the next admission, once. */
  refuse: Fault | undefined;
  fenceNext: Fenced | undefined;
  readonly telemetry: Telemetry[] = [];
  /** What is told waits for this before it is kept. */
  keeping: Promise<void> = Promise.resolve();
  refuseTelemetry: Fault | undefined;
  #sessions = 0n;
  #rings = new Set<Parameters<LinkHub["onCellChanged"]>[0]>();
  readonly outcasts = new Set<(expelled: Expelled) => void>();

  async admit(principal: AgentPrincipal, hello: Hello | undefined): Promise<AgentSession> {
    const { refuse } = this;
    this.refuse = undefined;
    if (refuse !== undefined) throw refuse;
    if (hello !== undefined) {
      this.hellos.push(hello);
      this.#sessions += 1n;
    }
    return { ...principal, session: this.#sessions, active: true };
  }

  async mismatched(_: AgentPrincipal, claimed: string): Promise<void> {
    this.mismatches.push(claimed);
  }

  async left(session: AgentSession): Promise<void> {
    this.leftSessions.push(session.session);
  }

  async differing(_: AgentSession, held: readonly Held[], max: number) {
    this.asked.push(held);
    const heldAt = new Map(held.map((each) => [each.instanceId, each.generation?.number ?? 0n]));
    const due = [...this.frames.entries()].filter(
      ([id, { generation }]) => (heldAt.get(id) ?? 0n) < generation,
    );
    const frames = due.map(([, { frame }]) => frame).slice(0, max);
    return { frames, more: due.length > max };
  }

  async freshness(): Promise<Uint8Array> {
    this.freshnessNotes += 1;
    const expireTime = timestampFromMs(Date.now() + this.freshnessMs);
    const note = toBinary(FreshnessSchema, create(FreshnessSchema, { expireTime }));
    const value = signEnvelope("freshness", note, [this.key]);
    const response = create(ControlResponseSchema, { message: { case: "freshness", value } });
    return toBinary(ControlResponseSchema, response);
  }

  async newsFor(): Promise<News> {
    return { keySets: this.keySets, hasActions: this.actions.size > 0 };
  }

  async actionsDue(session: AgentSession): Promise<readonly Action[]> {
    return session.active ? [...this.actions.values()] : [];
  }

  async statusReported(_: AgentSession, report: StatusReport): Promise<void> {
    this.statuses.push(report);
  }

  async actionEnded(_: AgentSession, result: ActionResult): Promise<void> {
    this.results.push(result);
    if (result.state !== ActionState.HELD) this.actions.delete(result.id);
  }

  async rehearsed(_: AgentSession, rehearsal: Rehearsal): Promise<void> {
    this.rehearsals.push(rehearsal);
  }

  async openStream() {
    const page = { reason: OpenedReason.NEW_EPOCH, epoch: 1n, incarnation: this.incarnation };
    return [true, false].map((more) => create(OpenedSchema, { ...page, more }));
  }

  async ingest(_: AgentSession, batch: SignedBatch): Promise<BatchAck | Fenced> {
    if (this.fenceNext !== undefined) {
      const fenced = this.fenceNext;
      this.fenceNext = undefined;
      return fenced;
    }
    this.batches.push(batch);
    const { records, firstSeq } = fromBinary(BatchSchema, batch.batch);
    const acceptedSeq = firstSeq + BigInt(records.length) - 1n;
    return create(BatchAckSchema, { epoch: 1n, acceptedSeq, durableSeq: acceptedSeq });
  }

  async told(_: AgentSession, telemetry: Telemetry): Promise<void> {
    await this.keeping;
    const { refuseTelemetry } = this;
    if (refuseTelemetry !== undefined) throw refuseTelemetry;
    this.telemetry.push(telemetry);
  }

  async release(_: AgentSession, digest: string): Promise<Envelope> {
    const release = this.releases.get(digest);
    if (release !== undefined) return release;
    throw new Fault("NOT_FOUND", "RELEASE_NOT_FOUND", `no release ${digest}`);
  }

  async *artefact(_: AgentSession, digest: string, offset: bigint) {
    const bytes = this.artefacts.get(digest);
    if (bytes === undefined) throw new Fault("NOT_FOUND", "ARTEFACT_NOT_FOUND", `no ${digest}`);
    yield bytes.subarray(Number(offset));
  }

  async secret(_: AgentSession, { instanceId, name, version }: SecretName): Promise<Uint8Array> {
    const sealed = this.secrets.get(`${instanceId}/${name}/${version}`);
    if (sealed !== undefined) return sealed;
    throw new Fault("NOT_FOUND", "SECRET_NOT_FOUND", `no secret ${name}`);
  }

  onAction(ring: (cell: { vendorId: string; cellId: string }) => void): () => void {
    this.ringAction = ring;
    return () => {
      this.ringAction = () => undefined;
    };
  }

  onRehearsal(send: NonNullable<MemoryHub["ask"]>): () => void {
    this.ask = send;
    return () => {
      this.ask = undefined;
    };
  }

  onCellChanged(ring: Parameters<LinkHub["onCellChanged"]>[0]): () => void {
    this.#rings.add(ring);
    return () => this.#rings.delete(ring);
  }

  onExpelled(listener: (expelled: Expelled) => void): () => void {
    this.outcasts.add(listener);
    return () => this.outcasts.delete(listener);
  }

  ring(cell: { vendorId: string; cellId: string }, fresh?: StoredFrame): void {
    for (const ring of this.#rings) ring(cell, fresh);
  }

  /** Puts an instance at a generation; `bulk` bytes of padding make the frame large. */
  assign(instanceId: string, number: bigint, bulk = 0): StoredFrame {
    const assignment = create(AssignmentSchema, {
      instanceId,
      generation: { incarnation: this.incarnation, number },
      instanceName: "x".repeat(bulk),
    });
    const payload = toBinary(AssignmentSchema, assignment);
    const value = { instanceId, assignment: signEnvelope("assignment", payload, [this.key]) };
    const response = create(ControlResponseSchema, { message: { case: "offer", value } });
    const held = create(HeldSchema, {
      instanceId,
      generation: { incarnation: this.incarnation, number },
      assignmentDigest: digestOf(payload),
    });
    const frame = { held, bytes: toBinary(ControlResponseSchema, response) };
    this.frames.set(instanceId, { generation: number, frame });
    return frame;
  }
}

export type World = Awaited<ReturnType<typeof createWorld>>;

/** Authorities, a vendor, a cell, and the identity use cases. */
export async function createWorld(clock = new MovableClock()) {
  const serverAuthority = await createAuthority("hub", Date.now());
  const vendorId = uuid();
  const agents = await createAuthority("agents", Date.now() - 40 * 86_400_000);
  const cell = { vendorId, cellId: uuid() };
  const tokens = new Map<string, boolean>();
  const identityKeys = new Map<string, Uint8Array>();
  const ports = { link: 0, identity: 0 };
  const endpoints = (port: number) => [`localhost:${port}`];
  const issue = async (request: Uint8Array, agentId: string, identityKeyId: string) => {
    const { publicKey } = await readCertificateRequest(request);
    const subject = { ...cell, agentId, fencing: 1n, identityKeyId };
    const roots = [serverAuthority.certificate];
    return issueAgentCertificate(agents, subject, publicKey, roots, clock.now());
  };
  const identityHub: IdentityHub = {
    enroll: async (request) => {
      if (tokens.get(request.joinToken) !== false) {
        throw new Fault("UNAUTHENTICATED", "TOKEN_USED", "this exact cause must not get out");
      }
      tokens.set(request.joinToken, true);
      const { publicKey } = verificationKey(request.identityKey);
      const proven = enrollProofBytes(request.joinToken, request.certificateRequest);
      if (!verify(null, proven, publicKey, request.identityProof)) throw badProof();
      const agentId = uuid();
      identityKeys.set(agentId, request.identityKey);
      const keyId = keyIdOf(request.identityKey);
      const { certificate } = await issue(request.certificateRequest, agentId, keyId);
      return create(EnrollResponseSchema, {
        vendorId: idOf("vendor", vendorId),
        cellId: idOf("cell", cell.cellId),
        agentId: idOf("agent", agentId),
        fencing: 1n,
        certificate,
        keySets: [create(EnvelopeSchema, { payloadType: "k" })],
        linkEndpoints: endpoints(ports.link),
        identityEndpoints: endpoints(ports.identity),
        incarnation: 1n,
      });
    },
    renew: async (principal, request, proof) => {
      const key = identityKeys.get(principal.agentId) ?? new Uint8Array(32);
      const { publicKey } = verificationKey(key);
      if (!verify(null, renewProofBytes(request), publicKey, proof)) throw badProof();
      const { certificate } = await issue(request, principal.agentId, keyIdOf(key));
      return create(RenewResponseSchema, { certificate, hubTime: timestampFromMs(clock.now()) });
    },
  };
  const token = () => {
    const text = encodeJoinToken({
      vendorId,
      id: uuid(),
      secret: Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64url"),
      identityEndpoints: endpoints(ports.identity),
      rootFingerprint: fingerprintOf(serverAuthority.certificate),
    });
    parseJoinToken(text);
    tokens.set(text, false);
    return text;
  };
  const authority = agentAuthority(vendorId, agents.certificate);
  return { clock, serverAuthority, agents, authority, cell, identityHub, ports, token, issue };
}

function badProof(): Fault {
  return new Fault("UNAUTHENTICATED", "PROOF_BAD", "the identity proof does not fit");
}

const SHORT: LinkTiming = { keepaliveMs: 10_000, keepaliveTimeoutMs: 5_000, firstMessageMs: 500 };

/** Both listeners, on the world's ports if it had some before. */
export async function startHub(
  world: World,
  hub: MemoryHub,
  timing: Partial<LinkTiming> = {},
  admission: AdmissionBounds = ADMISSION,
  vendors: readonly AgentAuthority[] = [world.authority],
  ticketKeys: () => Uint8Array = () => world.serverAuthority.certificate.subarray(0, 48),
) {
  const server = await issueServerCertificate(world.serverAuthority, ["localhost"], Date.now());
  const watched: string[] = [];
  const shared = {
    host: "127.0.0.1",
    clock: world.clock,
    random: Math.random,
    log: quiet,
    tls: () => ({ ...server, ticketKeys: ticketKeys() }),
    authorities: () => vendors,
    timing: { ...SHORT, ...timing },
    admission,
    watch: recordingWatch(watched),
  };
  const link = await startLinkServer({ ...shared, port: world.ports.link, hub });
  const identity = await startIdentityServer({
    ...shared,
    port: world.ports.identity,
    hub: world.identityHub,
  });
  world.ports.link = link.port;
  world.ports.identity = identity.port;
  return {
    ...{ link, identity, watched },
    stop: (msMax = 1_000) => Promise.all([link.stop(msMax), identity.stop(msMax)]),
  };
}
