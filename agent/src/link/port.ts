/**
 * What the link asks of the rest of the agent. The link knows the wire and the connection, nothing of
 * drivers, attempts or SQLite; all that it learns it hands over here, and all that it says comes from here.
 */
import type { Certificate } from "@holdfast/proto/holdfast/link/v1/identity_pb.js";
import type {
  BatchAck,
  Fenced,
  Hello,
  Offer,
  Open,
  Opened,
  OutputPart,
  ShowOutput,
  TelemetryAck,
  Welcome,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import type {
  Action,
  ActionResult,
  Rehearsal,
} from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import type { Envelope } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import type { SignedBatch } from "@holdfast/proto/holdfast/model/v1/reading_pb.js";
import type { InstanceStatus } from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import type { Telemetry } from "@holdfast/proto/holdfast/model/v1/telemetry_pb.js";
import type { Doorbell } from "@holdfast/shared/doorbell.ts";

/** What the agent is and proves; loaded from the store, replaced as a whole by enrolment and renewal. */
export type Identity = Readonly<{
  vendorId: string;
  cellId: string;
  agentId: string;
  fencing: bigint;
  /** PKCS #8 DER of the P-256 key that the certificate is for. */
  tlsKey: Uint8Array;
  /** 32-byte seed of the Ed25519 identity key. */
  identitySeed: Uint8Array;
  certificate: Certificate;
  linkEndpoints: readonly string[];
  identityEndpoints: readonly string[];
}>;

export interface IdentityPort {
  identity(): Identity;
  /** Durable before it returns. */
  renewed(tlsKey: Uint8Array, certificate: Certificate): void;
}

export interface ControlPort {
  /** All but the protocol range, which is the link's own. */
  hello(): Omit<Hello, "$typeName" | "$unknown" | "minProtocol" | "maxProtocol">;
  welcomed(welcome: Welcome): void;
  /** Verifies and stores durably; what is refused becomes part of the instance's status. Never throws for bad content. */
  offered(offer: Offer): Promise<void>;
  keySetOffered(envelope: Envelope): void;
  freshnessNoted(envelope: Envelope): void;
  /** Durable when it returns; `tell` may be called now, later, and more than once. */
  act(action: Action, tell: (result: ActionResult) => void): void;
  /** Never throws for bad content. */
  rehearse(id: string, candidate: Envelope | undefined): Promise<Rehearsal>;
  /** The status of every instance with a number that changes whenever the status does. */
  statuses(): readonly Readonly<{ version: number; status: InstanceStatus }>[];
  /** Rung when a status may have changed. */
  readonly statusBell: Doorbell;
  /** Another agent has taken over this one's cell: nothing may be done any more but deliver usage. Told at least once. */
  takenOver(): void;
  /** The hub has seen two processes with this agent's identity and lets neither in. Told at each try. */
  frozen(): void;
  /** The link is up, or is down since now and why; for the local page. */
  linkChanged(up: boolean, message: string): void;
}

export interface ReportPort {
  /** Where the agent believes its stream is. */
  open(): Omit<Open, "$typeName" | "$unknown">;
  /** A page of the hub's answer; the last one has `more` false. `reopen`: end this stream and open another. */
  opened(page: Opened): "go" | "reopen";
  /** The next batch that was not handed out on this stream, at most 500 records and 512 KiB; undefined if there is none now. */
  nextBatch(): SignedBatch | undefined;
  acked(ack: BatchAck): void;
  /** The stream is over. `reopen`: try again with what open() says then. */
  fenced(fenced: Fenced): "reopen" | "stop";
  /** Rung when there may be a next batch. */
  readonly batchBell: Doorbell;
}

/** What goes on the report stream when usage has nothing to send: health, metrics, logs. */
export interface TelemetryPort {
  /** A stream is open that takes it; what was not answered on the one before goes again. */
  opened(): void;
  /** The next message; undefined if there is none now. Rung by the report's batchBell. */
  next(): Telemetry | undefined;
  acked(ack: TelemetryAck): void;
}

/** What steps of attempts said, for who asks. */
export interface OutputPort {
  /**
   * Goes on until all is told or the signal aborts, the first part at once. What is thrown before the first part refuses
   * the question, and is told with its reason and message.
   */
  show(ask: ShowOutput, signal: AbortSignal): AsyncIterable<OutputPart>;
}

/** What the rest of the agent asks of the link. */
export interface FetchPort {
  /** The signed release with this digest. Throws UNAVAILABLE while there is no link. */
  fetchRelease(digest: string, signal: AbortSignal): Promise<Envelope>;
  /** Bytes of an artefact from `offset` on. */
  fetchArtefact(digest: string, offset: bigint, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** Sealed bytes; NOT_FOUND if there are none for this agent. */
  fetchSecret(
    instanceId: string,
    name: string,
    version: bigint,
    signal: AbortSignal,
  ): Promise<Uint8Array>;
}
