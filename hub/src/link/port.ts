/**
 * What the link asks of the hub's use cases. The link knows certificates, streams and framing; it decides
 * nothing about tenants, instances or money and holds no SQL. Every call names the caller that the
 * certificate proved.
 */
import type {
  EnrollRequest,
  EnrollResponse,
  RenewResponse,
} from "@holdfast/proto/holdfast/link/v1/identity_pb.js";
import type {
  BatchAck,
  Fenced,
  Held,
  Hello,
  Open,
  Opened,
  OutputAnswer,
  OutputPart,
  ShowOutput,
  StatusReport,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import type {
  Action,
  ActionResult,
  Rehearsal,
} from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import type { Envelope } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import type { SignedBatch } from "@holdfast/proto/holdfast/model/v1/reading_pb.js";
import type { Telemetry } from "@holdfast/proto/holdfast/model/v1/telemetry_pb.js";
import type { Fault } from "@holdfast/shared/fault.ts";

/** Who is calling, from the certificate alone. Ids are UUIDs, as in the certificate and the database. */
export type AgentPrincipal = Readonly<{
  vendorId: string;
  cellId: string;
  agentId: string;
  /** Serial of the certificate, lower-case hex. */
  serial: string;
  fencing: bigint;
}>;

/** An admitted agent. `active` is false for one that was fenced by a takeover: it may only drain its reports. */
export type AgentSession = AgentPrincipal & Readonly<{ session: bigint; active: boolean }>;

/** Finished bytes of a ControlResponse with an offer, as stored when they were signed. */
export type StoredFrame = Readonly<{
  bytes: Uint8Array;
  /** What an agent that took it would say in Hello. */
  held: Held;
}>;

export type OfferPage = Readonly<{
  frames: readonly StoredFrame[];
  /** There may be others to ask for once these are held. */
  more: boolean;
}>;

/** As an assignment names it; the instance by its id as people see it. */
export type SecretName = Readonly<{ instanceId: string; name: string; version: bigint }>;

/** What a hello brings about beside the desired state. */
export type News = Readonly<{
  /** Newer than those held, oldest first, one signed by the one before. */
  keySets: readonly Envelope[];
  /** Whether any order is open in the cell. */
  hasActions: boolean;
}>;

export type Peer = Readonly<{ address: string }>;

/** Where what an agent tells goes, part by part. */
export type OutputTaker = Readonly<{
  /** Aborted once nobody looks any more. */
  left: AbortSignal;
  /** Resolves when the viewer has taken it, or has gone. */
  take(part: OutputPart): Promise<void>;
  /** Nothing more comes. */
  ended(): void;
}>;

type Cell = Readonly<{ vendorId: string; cellId: string }>;

export interface LinkHub {
  readonly incarnation: bigint;
  /** Refuses (UNAUTHENTICATED, PERMISSION_DENIED) a revoked or unknown certificate, a deleted agent, another cell's. */
  admit(principal: AgentPrincipal, hello: Hello | undefined): Promise<AgentSession>;
  /** A message named somebody else than the certificate did, and was refused; for the audit. `claimed` is escaped. */
  mismatched(principal: AgentPrincipal, claimed: string): Promise<void>;
  /** The stream of this session has ended. */
  left(session: AgentSession): Promise<void>;
  /** Latest of the cell's assignments and entitlements that differ from what is held, at most `max`, oldest change first. */
  differing(session: AgentSession, held: readonly Held[], max: number): Promise<OfferPage>;
  /** Bytes of a ControlResponse with a freshness note signed now. */
  freshness(session: AgentSession): Promise<Uint8Array>;
  newsFor(session: AgentSession, hello: Hello): Promise<News>;
  /** Open orders of the session's cell, oldest first, at most `max`; noted as given when it resolves. */
  actionsDue(session: AgentSession, max: number): Promise<readonly Action[]>;
  statusReported(session: AgentSession, report: StatusReport): Promise<void>;
  /** Also one that is held, which ends later. */
  actionEnded(session: AgentSession, result: ActionResult): Promise<void>;
  rehearsed(session: AgentSession, rehearsal: Rehearsal): Promise<void>;
  /** An agent begins to tell what steps said. Throws NOT_FOUND `UNASKED` if nobody waits for it. */
  outputTold(session: AgentSession, answer: OutputAnswer): OutputTaker;
  /** Pages of at most 1,000 series. */
  openStream(session: AgentSession, open: Open): Promise<readonly Opened[]>;
  /** Checks signature and chain, then ingests in one statement. */
  ingest(session: AgentSession, batch: SignedBatch): Promise<BatchAck | Fenced>;
  /** Resolves once it is kept; whatever Fault it throws is the message's end, never the stream's. */
  told(session: AgentSession, telemetry: Telemetry): Promise<void>;
  release(session: AgentSession, digest: string): Promise<Envelope>;
  artefact(session: AgentSession, digest: string, offset: bigint): AsyncIterable<Uint8Array>;
  /** The sealed bytes, if they are sealed to this agent. */
  secret(session: AgentSession, secret: SecretName): Promise<Uint8Array>;
  /**
   * Rings with the cell whose desired state may have changed, and with the frame that was just committed there if the
   * ringer has it. Returns how to stop listening.
   */
  onCellChanged(ring: (cell: Cell, fresh: StoredFrame | undefined) => void): () => void;
  /** Rings with the cell in which an order was made. Returns how to stop listening. */
  onAction(ring: (cell: Cell) => void): () => void;
  /** Takes how to ask an agent; false if it is not connected here. Returns how to stop. */
  onRehearsal(send: (cell: Cell, id: string, candidate: Envelope) => boolean): () => void;
  /** Takes how to ask an agent for output of steps; false if it is not connected here. Returns how to stop. */
  onShowOutput(send: (cell: Cell, show: ShowOutput) => boolean): () => void;
  /** Says at once whose streams are to end. Returns how to stop listening. */
  onExpelled(listener: (expelled: Expelled) => void): () => void;
}

/** Agents of a cell that are no longer welcome: those with a fencing number below `below`, or all. */
export type Expelled = Readonly<{
  vendorId: string;
  cellId: string;
  below?: bigint;
  fault: Fault;
}>;

/** The use cases behind the identity listener. */
export interface IdentityHub {
  enroll(request: EnrollRequest, peer: Peer): Promise<EnrollResponse>;
  /** `principal` comes from a certificate of ours that may have expired up to 35 days ago. */
  renew(
    principal: AgentPrincipal,
    certificateRequest: Uint8Array,
    identityProof: Uint8Array,
    peer: Peer,
  ): Promise<RenewResponse>;
}
