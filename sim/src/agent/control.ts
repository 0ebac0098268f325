/**
 * The control port of a simulated agent: every offer is judged by the agent's own rules (both signatures, addressee,
 * generation, floor), then given to the driver that runs nothing.
 */
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type Addressee,
  judgeAssignment,
  judgeEntitlement,
  judgeRelease,
} from "@holdfast/agent/src/assignments/judge.ts";
import type { ControlPort, FetchPort } from "@holdfast/agent/src/link/port.ts";
import {
  CapabilitySchema,
  HeldFloorSchema,
  HeldKeySetSchema,
  HeldSchema,
  type Offer,
  type Welcome,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import {
  type Action,
  type ActionResult,
  ActionResultSchema,
  ActionState,
  type Rehearsal,
  RehearsalSchema,
} from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import type { Assignment } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import type { Blueprint } from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import type { Envelope } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { KeyPurpose } from "@holdfast/proto/holdfast/model/v1/keys_pb.js";
import { fullJitter } from "@holdfast/shared/backoff.ts";
import type { Clock, Random } from "@holdfast/shared/clock.ts";
import { Doorbell } from "@holdfast/shared/doorbell.ts";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import { formatGeneration } from "@holdfast/shared/generation.ts";
import type { Log } from "@holdfast/shared/log.ts";
import type { Tell, WallClock } from "../events.ts";
import { INSTANCES_MAX, Instance, type Wish } from "./instances.ts";
import type { Trust } from "./trust.ts";

/** Between tries to fetch a release that cannot be had now. */
const FETCH_BACKOFF = { baseMs: 500, capMs: 10_000 };

export type ControlDeps = Readonly<{
  agent: string;
  agentVersion: string;
  bootId: string;
  addressee: Addressee;
  fencing: bigint;
  incarnation: bigint;
  trust: Trust;
  fetch: Pick<FetchPort, "fetchRelease">;
  clock: Clock;
  wall: WallClock;
  random: Random;
  log: Log;
  tell: Tell;
  signal: AbortSignal;
  /** Until a generation is ready, ms. */
  readyMs: number;
  /** Time that taking an offer takes, in which nothing else is read from the stream, ms. */
  slowMs(): number;
  /** Whether this attempt fails. */
  fails(): boolean;
}>;

export class SimControl implements ControlPort {
  readonly statusBell: Doorbell;
  readonly instances = new Map<string, Instance>();
  readonly #deps: ControlDeps;
  /** Releases by digest, judged once for each assignment that names them. */
  readonly #releases = new Map<string, Envelope>();
  readonly #last = new Map<string, Promise<void>>();
  #incarnation: bigint;
  #isUp = false;

  constructor(deps: ControlDeps) {
    this.#deps = deps;
    this.statusBell = new Doorbell(deps.clock);
    this.#incarnation = deps.incarnation;
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  hello(): ReturnType<ControlPort["hello"]> {
    const { agentVersion, bootId, fencing, trust, clock } = this.#deps;
    return {
      ...{ agentVersion, bootId, fencing },
      life: bootId,
      platform: "simulated",
      incarnation: this.#incarnation,
      capabilities: [
        create(CapabilitySchema, { name: "driver/process", available: true, reason: "" }),
      ],
      held: [...this.instances.values()].flatMap(heldOf),
      keySets: trust.keySets.map(({ purpose, version }) =>
        create(HeldKeySetSchema, { purpose: KeyPurpose[purpose], version }),
      ),
      floors: [...trust.floors].map(([product, minReleaseNumber]) =>
        create(HeldFloorSchema, { product, minReleaseNumber }),
      ),
      agentTime: timestampFromMs(clock.now()),
    };
  }

  welcomed({ incarnation }: Welcome): void {
    if (incarnation > this.#incarnation) this.#incarnation = incarnation;
  }

  async offered(offer: Offer): Promise<void> {
    const { clock, signal, wall, slowMs } = this.#deps;
    const receivedAt = wall();
    const before = this.#last.get(offer.instanceId) ?? Promise.resolve();
    const taken = before.then(() => this.#take(offer, receivedAt));
    this.#last.set(offer.instanceId, taken);
    void taken.then(() => {
      if (this.#last.get(offer.instanceId) === taken) this.#last.delete(offer.instanceId);
    });
    const ms = slowMs();
    if (ms > 0) await clock.sleep(ms, signal);
  }

  keySetOffered(envelope: Envelope): void {
    this.#guarded("key set refused", () => this.#deps.trust.pin(envelope));
  }

  freshnessNoted(envelope: Envelope): void {
    this.#guarded("freshness note refused", () => this.#deps.trust.note(envelope));
  }

  act({ id }: Action, tell: (result: ActionResult) => void): void {
    tell(create(ActionResultSchema, { id, state: ActionState.DONE }));
  }

  async rehearse(id: string): Promise<Rehearsal> {
    return create(RehearsalSchema, { id, missing: ["a simulated agent plans no steps"] });
  }

  statuses() {
    return [...this.instances.values()].flatMap(({ version, status }) =>
      status === undefined ? [] : [{ version, status }],
    );
  }

  /** A simulated agent has nothing that it could do twice. */
  takenOver(): void {
    const { tell, agent, wall } = this.#deps;
    tell({ type: "dropped", agent, message: "taken over", at: wall() });
  }

  /** No change is its own to make; the next words say that it is not let in. */
  frozen(): void {
    const { log, agent } = this.#deps;
    log.warn({ agent }, "another process has this agent's identity");
  }

  linkChanged(up: boolean, message: string): void {
    const { tell, agent, wall } = this.#deps;
    if (up) tell({ type: "connected", agent, at: wall() });
    else tell({ type: this.#isUp ? "dropped" : "unreachable", agent, message, at: wall() });
    this.#isUp = up;
  }

  /** It ended its session itself. */
  left(): void {
    this.#isUp = false;
  }

  /** Its disk was lost: nothing is held, and all of it is offered again at the next contact. */
  forget(): void {
    this.instances.clear();
    this.#releases.clear();
  }

  /** One after the other for each instance. Never rejects. */
  async #take(offer: Offer, receivedAt: number): Promise<void> {
    const { clock, random, signal, log } = this.#deps;
    for (let failures = 0; !signal.aborted; failures++) {
      try {
        await this.#judge(offer, receivedAt);
        return;
      } catch (error) {
        // What was under way when it left says nothing about the offer.
        if (signal.aborted) return;
        const isOver = error instanceof Fault && (error.retryable || error.code === "CANCELLED");
        if (!isOver) {
          this.#refuse(offer.instanceId, error);
          return;
        }
        log.debug({ instance: offer.instanceId, error: causeChain(error) }, "offer waits");
        await clock.sleep(fullJitter(FETCH_BACKOFF, failures, random), signal);
      }
    }
  }

  async #judge(offer: Offer, receivedAt: number): Promise<void> {
    const { trust, addressee } = this.#deps;
    const { instanceId, assignment: envelope, entitlement, floor } = offer;
    if (floor !== undefined) trust.raise(floor);
    const keys = trust.keys(KeyPurpose.ASSIGNMENT);
    const instance = this.#instance(instanceId);
    if (envelope !== undefined) {
      const judged = judgeAssignment(envelope, keys, addressee, instance.wish);
      const { assignment, generation, digest, verdict } = judged;
      if (verdict === "replace") {
        const isGone = assignment.tombstone !== undefined;
        const blueprint = isGone ? undefined : await this.#blueprint(assignment);
        this.instances.set(instanceId, instance);
        this.#accept(instance, { assignment, generation, digest, blueprint }, envelope, receivedAt);
      }
    }
    if (entitlement === undefined) return;
    const held = instance.entitlement;
    const holding = held && { generation: held.revision, digest: held.digest };
    const judged = judgeEntitlement(entitlement, keys, addressee, instanceId, holding);
    if (judged.verdict === "replace") instance.entitlement = judged;
  }

  #instance(id: string): Instance {
    const known = this.instances.get(id);
    if (known !== undefined) return known;
    if (this.instances.size < INSTANCES_MAX) return new Instance(id, this.#deps.clock);
    const message = `this agent holds ${INSTANCES_MAX} instances already`;
    throw new Fault("RESOURCE_EXHAUSTED", "INSTANCES_MAX", message);
  }

  /** The release that the assignment names, its signature and number judged against what is pinned. */
  async #blueprint(assignment: Assignment): Promise<Blueprint> {
    const { trust, fetch, signal } = this.#deps;
    const { releaseDigest, product } = assignment;
    const envelope =
      this.#releases.get(releaseDigest) ?? (await fetch.fetchRelease(releaseDigest, signal));
    const keys = trust.keys(KeyPurpose.RELEASE);
    const blueprint = judgeRelease(envelope, keys, assignment, trust.floor(product));
    this.#releases.set(releaseDigest, envelope);
    for (const digest of this.#releases.keys()) {
      if (this.#releases.size <= INSTANCES_MAX) break;
      this.#releases.delete(digest);
    }
    return blueprint;
  }

  #accept(instance: Instance, wish: Wish, { payload }: Envelope, receivedAt: number): void {
    const { agent, wall, tell, clock, readyMs, signal, fails } = this.#deps;
    const { digest } = wish;
    const generation = formatGeneration(wish.generation);
    const { id: instanceId } = instance;
    const bytes = payload.length;
    tell({ type: "offered", agent, instanceId, generation, digest, bytes, receivedAt, at: wall() });
    instance.begin(wish);
    const end = () => {
      instance.end(wish, fails());
      this.statusBell.ring();
    };
    if (readyMs === 0) {
      end();
      return;
    }
    this.statusBell.ring();
    void clock.sleep(readyMs, signal).then(() => {
      if (!signal.aborted) end();
    });
  }

  #refuse(instanceId: string, error: unknown): void {
    const { agent, wall, tell, log } = this.#deps;
    if (!(error instanceof Fault)) throw error;
    log.warn({ instance: instanceId, reason: error.reason, message: error.message }, "refused");
    tell({ type: "refused", agent, instanceId, reason: error.reason, at: wall() });
    this.instances.get(instanceId)?.refuse(error);
    this.statusBell.ring();
  }

  #guarded(what: string, work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#deps.log.warn({ error: causeChain(error) }, what);
    }
  }
}

function heldOf({ id: instanceId, wish, entitlement, removed }: Instance) {
  if (wish === undefined) return [];
  return create(HeldSchema, {
    instanceId,
    generation: wish.generation,
    assignmentDigest: wish.digest,
    ...(entitlement !== undefined && { entitlementRevision: entitlement.revision }),
    removed,
  });
}
