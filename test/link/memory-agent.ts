/** The agent's side of the ports, in memory, for tests of the link. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Certificate } from "@holdfast/proto/holdfast/link/v1/identity_pb.js";
import {
  type BatchAck,
  type Fenced,
  type Held,
  HeldSchema,
  type Offer,
  type Opened,
  type Welcome,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import {
  type Action,
  type ActionResult,
  ActionResultSchema,
  type ActionState,
  RehearsalSchema,
} from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import { AssignmentSchema } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import type { Envelope } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import {
  BatchSchema,
  type SignedBatch,
  SignedBatchSchema,
} from "@holdfast/proto/holdfast/model/v1/reading_pb.js";
import {
  type InstanceStatus,
  InstanceStatusSchema,
} from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import { systemClock } from "@holdfast/shared/clock.ts";
import { Doorbell } from "@holdfast/shared/doorbell.ts";
import { enroll } from "../../agent/src/enroll.ts";
import { type Link, type LinkDeps, startLink } from "../../agent/src/link/link.ts";
import type { ControlPort, Identity, IdentityPort, ReportPort } from "../../agent/src/link/port.ts";
import { quiet, type World } from "./world.ts";

export class MemoryAgent implements ControlPort, ReportPort, IdentityPort {
  readonly statusBell = new Doorbell(systemClock);
  readonly batchBell = new Doorbell(systemClock);
  readonly orders: { action: Action; answer(state: ActionState): void }[] = [];
  readonly offers: Offer[] = [];
  readonly keySets: Envelope[] = [];
  readonly notes: Envelope[] = [];
  readonly welcomes: Welcome[] = [];
  readonly changes: { up: boolean; message: string }[] = [];
  readonly held = new Map<string, Held>();
  readonly acks: BatchAck[] = [];
  readonly fences: Fenced[] = [];
  takeovers = 0;
  freezes = 0;
  life = "life";
  readonly pages: Opened[] = [];
  readonly states = new Map<string, { version: number; status: InstanceStatus }>();
  readonly pending: SignedBatch[] = [];
  fencing: bigint | undefined;
  renewals = 0;
  readonly candidates: (Envelope | undefined)[] = [];
  /** Each rehearsal waits for this. */
  rehearsing: Promise<void> = Promise.resolve();
  /** Each offer waits for this. */
  gate: Promise<void> = Promise.resolve();
  #identity: Identity;

  constructor(identity: Identity) {
    this.#identity = identity;
  }

  identity(): Identity {
    return this.#identity;
  }

  renewed(tlsKey: Uint8Array, certificate: Certificate): void {
    this.renewals += 1;
    this.#identity = { ...this.#identity, tlsKey, certificate };
  }

  at(change: Partial<Identity>): void {
    this.#identity = { ...this.#identity, ...change };
  }

  get isUp(): boolean {
    return this.changes.at(-1)?.up ?? false;
  }

  hello() {
    return {
      agentVersion: "0.1.0",
      fencing: this.fencing ?? this.#identity.fencing,
      incarnation: 1n,
      bootId: "boot",
      life: this.life,
      platform: "linux",
      capabilities: [],
      held: [...this.held.values()],
      keySets: [],
      floors: [],
    };
  }

  welcomed(welcome: Welcome): void {
    this.welcomes.push(welcome);
  }

  async offered(offer: Offer): Promise<void> {
    await this.gate;
    this.offers.push(offer);
    const { generation } = fromBinary(
      AssignmentSchema,
      offer.assignment?.payload ?? new Uint8Array(),
    );
    const { instanceId } = offer;
    if (generation !== undefined) {
      this.held.set(instanceId, create(HeldSchema, { instanceId, generation }));
    }
  }

  keySetOffered(envelope: Envelope): void {
    this.keySets.push(envelope);
  }

  freshnessNoted(envelope: Envelope): void {
    this.notes.push(envelope);
  }

  /** Answers when the test says so. */
  act(action: Action, tell: (result: ActionResult) => void): void {
    this.orders.push({
      action,
      answer: (state) => tell(create(ActionResultSchema, { id: action.id, state })),
    });
  }

  async rehearse(id: string, candidate: Envelope | undefined) {
    this.candidates.push(candidate);
    await this.rehearsing;
    return create(RehearsalSchema, { id });
  }

  statuses() {
    return [...this.states.values()];
  }

  /** Sets the status of an instance and rings. */
  say(instanceId: string, change: Partial<InstanceStatus> = {}): void {
    const version = (this.states.get(instanceId)?.version ?? 0) + 1;
    const status = create(InstanceStatusSchema, { instanceId });
    this.states.set(instanceId, { version, status: Object.assign(status, change) });
    this.statusBell.ring();
  }

  takenOver(): void {
    this.takeovers += 1;
  }

  frozen(): void {
    this.freezes += 1;
  }

  linkChanged(up: boolean, message: string): void {
    this.changes.push({ up, message });
  }

  open() {
    return {
      epoch: 0n,
      nextSeq: 1n,
      acceptedSeq: 0n,
      acceptedHead: new Uint8Array(32),
      incarnation: 1n,
      bootId: "boot",
      nonce: new Uint8Array(16),
    };
  }

  opened(page: Opened): "go" | "reopen" {
    this.pages.push(page);
    return "go";
  }

  nextBatch(): SignedBatch | undefined {
    return this.pending.shift();
  }

  /** Queues a batch of one record. */
  measure(seq: bigint, agentId = this.#identity.agentId): void {
    const batch = create(BatchSchema, { agentId, epoch: 1n, firstSeq: seq, records: [{ seq }] });
    this.pending.push(create(SignedBatchSchema, { batch: toBinary(BatchSchema, batch) }));
    this.batchBell.ring();
  }

  acked(ack: BatchAck): void {
    this.acks.push(ack);
  }

  fenced(fenced: Fenced): "reopen" | "stop" {
    this.fences.push(fenced);
    return "reopen";
  }
}

export async function enrolled(world: World, token = world.token()): Promise<MemoryAgent> {
  const { identity } = await enroll({
    token,
    hostName: "test",
    agentVersion: "0.1.0",
    signal: AbortSignal.timeout(50_000),
  });
  return new MemoryAgent(identity);
}

export function linkOf(agent: MemoryAgent, deps: Partial<LinkDeps> = {}, isFenced = false): Link {
  const ports = { identity: agent, control: agent, report: agent };
  const random = Math.random;
  return startLink({ ...ports, clock: systemClock, random, log: quiet, ...deps }, isFenced);
}
