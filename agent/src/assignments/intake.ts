/**
 * Takes offers in: fetches the release that an assignment names, judges both, and stores what is acceptable in
 * one transaction. What is refused becomes part of the instance's status and touches nothing that serves.
 */
import type { Offer } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import type { Assignment } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import type { Blueprint } from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import type { Envelope } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { KeyPurpose } from "@holdfast/proto/holdfast/model/v1/keys_pb.js";
import { fullJitter } from "@holdfast/shared/backoff.ts";
import type { ParameterResolver } from "@holdfast/shared/blueprint/parameters.ts";
import type { Clock, Random } from "@holdfast/shared/clock.ts";
import { causeChain, describeViolation, Fault } from "@holdfast/shared/fault.ts";
import {
  formatGeneration,
  type Generation,
  generationOf,
  NO_GENERATION,
} from "@holdfast/shared/generation.ts";
import { uuidOf } from "@holdfast/shared/ids.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { FetchPort } from "../link/port.ts";
import * as assignments from "../store/assignments.ts";
import type { Store } from "../store/database.ts";
import * as pins from "../store/pins.ts";
import * as secrets from "../store/secrets.ts";
import {
  type Addressee,
  judgeAssignment,
  judgeEntitlement,
  judgeFloor,
  judgeRelease,
  keysOf,
} from "./judge.ts";
import { fetchSealed, pruneSealed } from "./sealed.ts";

export type IntakeDeps = Readonly<{
  store: Store;
  fetch: Pick<FetchPort, "fetchRelease" | "fetchSecret">;
  clock: Clock;
  random: Random;
  log: Log;
  addressee: Addressee;
  /** This agent: what is sealed to another one is not fetched. */
  agentId: string;
  signal: AbortSignal;
  /** A removed instance is forgotten to make room, if there is one that left nothing. */
  makeRoom(): void;
  /** What the store holds about this instance has changed. */
  changed(instanceId: string): void;
}>;

/** Between tries to fetch a release that cannot be had now. The hub offers again at each contact as well. */
const FETCH_BACKOFF = { baseMs: 500, capMs: 60_000 };

/** Releases that are remembered to be sound, more than a cell has at once. */
const SOUND_MAX = 1_000;
/** Compiled schemas that are kept: many instances get one release after the other, and few releases take turns. */
const RESOLVERS_MAX = 2;

/** One after the other for each instance, and no instance waits for another. */
export class Intake {
  readonly #deps: IntakeDeps;
  readonly #last = new Map<string, Promise<void>>();
  /** Newest offer of each instance that is still to be taken. */
  readonly #newest = new Map<string, Offer>();
  /** Pauses of offers that wait for their release; a newer offer ends them. */
  readonly #waits = new Map<string, AbortController>();
  readonly #fetching = new Map<string, Promise<Envelope>>();
  /** Digests of releases that this process has found sound: the same bytes are not judged twice. */
  readonly #sound = new Set<string>();
  readonly #resolvers = new Map<string, ParameterResolver>();

  constructor(deps: IntakeDeps) {
    this.#deps = deps;
  }

  /** Instances with an offer that is not taken yet. */
  get pending(): number {
    return this.#newest.size;
  }

  /** Resolves once it is stored, refused, or replaced by a newer offer. Rejects only if the store fails. */
  async offered(offer: Offer): Promise<void> {
    const { instanceId } = offer;
    this.#newest.set(instanceId, offer);
    this.#waits.get(instanceId)?.abort();
    const before = this.#last.get(instanceId) ?? Promise.resolve();
    const taken = before.catch(() => undefined).then(() => this.#takeNewest(offer));
    this.#last.set(instanceId, taken);
    try {
      await taken;
    } finally {
      if (this.#last.get(instanceId) === taken) this.#last.delete(instanceId);
      if (this.#newest.get(instanceId) === offer) this.#newest.delete(instanceId);
    }
  }

  /** Tries again for as long as nothing newer was offered. */
  async #takeNewest(offer: Offer): Promise<void> {
    const { clock, random, signal, log } = this.#deps;
    for (let failures = 0; this.#newest.get(offer.instanceId) === offer; failures++) {
      try {
        await this.#take(offer);
        return;
      } catch (error) {
        if (!(error instanceof Fault) || !error.retryable) throw error;
        log.warn({ instance: offer.instanceId, error: causeChain(error) }, "offer waits");
        const wait = new AbortController();
        this.#waits.set(offer.instanceId, wait);
        const pauseMs = fullJitter(FETCH_BACKOFF, failures, random);
        await clock.sleep(pauseMs, AbortSignal.any([signal, wait.signal]));
        this.#waits.delete(offer.instanceId);
        if (signal.aborted) return;
      }
    }
  }

  async #take(offer: Offer): Promise<void> {
    const claim = { generation: NO_GENERATION, releaseVersion: "" };
    try {
      if (offer.floor !== undefined) this.#raiseFloor(offer.floor);
      if (offer.assignment !== undefined) await this.#assign(offer, claim);
      if (offer.entitlement !== undefined) this.#entitle(offer.instanceId, offer.entitlement);
    } catch (error) {
      if (!(error instanceof Fault) || error.code === "INTERNAL") throw error;
      if (error.retryable) throw error;
      this.#refuse(offer.instanceId, claim, error);
    }
  }

  #raiseFloor(envelope: Envelope): void {
    const { store, addressee } = this.#deps;
    const keys = keysOf(pins.findKeySet(store, KeyPurpose.RELEASE));
    const floor = judgeFloor(envelope, keys, addressee.vendorId);
    pins.raiseFloor(store, floor, envelope);
  }

  async #assign(
    { instanceId, assignment: envelope }: Offer,
    claim: { generation: Generation; releaseVersion: string },
  ): Promise<void> {
    const { store, addressee, clock, log } = this.#deps;
    const held = assignments.find(store, instanceId);
    const keys = keysOf(pins.findKeySet(store, KeyPurpose.ASSIGNMENT));
    const judged = judgeAssignment(envelope, keys, addressee, held);
    const { assignment, generation, digest } = judged;
    claim.generation = generationOf(assignment.generation);
    claim.releaseVersion = assignment.releaseVersion;
    if (assignment.instanceId !== instanceId) {
      throw refusal(
        "WRONG_INSTANCE",
        `assignment: for ${shown(assignment.instanceId)}; offered for ${shown(instanceId)}`,
      );
    }
    if (judged.verdict === "keep") return this.#accepted(instanceId);
    if (held === undefined) this.#findRoom();
    const release = assignment.tombstone === undefined ? await this.release(assignment) : undefined;
    const sealed = release === undefined ? [] : await fetchSealed(this.#deps, assignment);
    store.transaction(() => {
      const acceptedAt = clock.now();
      const releaseDigest = release === undefined ? "" : assignment.releaseDigest;
      if (release !== undefined) {
        assignments.putRelease(store, assignment.releaseDigest, release, acceptedAt);
      }
      if (envelope === undefined) return;
      const accepted = { instanceId, envelope, digest, generation, releaseDigest, acceptedAt };
      assignments.replace(store, accepted);
      for (const secret of sealed) secrets.put(store, secret, acceptedAt);
      pruneSealed(store, instanceId);
      assignments.pruneReleases(store);
    });
    log.debug({ instance: instanceId, generation: formatGeneration(generation) }, "accepted");
    this.#accepted(instanceId);
  }

  #findRoom(): void {
    const { store, makeRoom } = this.#deps;
    const isFull = () => assignments.count(store) >= assignments.INSTANCES_MAX;
    if (isFull()) makeRoom();
    if (!isFull()) return;
    const message = `this agent holds ${assignments.INSTANCES_MAX} instances already, with removed ones whose data is kept`;
    throw new Fault("RESOURCE_EXHAUSTED", "INSTANCES_MAX", message, {
      next: "holdfast-agent kept",
    });
  }

  #accepted(instanceId: string): void {
    assignments.removeRefusal(this.#deps.store, instanceId);
    this.#deps.changed(instanceId);
  }

  /** The release that the assignment names, judged as if the hub had checked nothing. Keeps nothing. */
  async release(assignment: Assignment): Promise<Envelope> {
    const { store } = this.#deps;
    const { releaseDigest, product } = assignment;
    const envelope =
      assignments.findRelease(store, releaseDigest) ?? (await this.#fetch(releaseDigest));
    const keys = keysOf(pins.findKeySet(store, KeyPurpose.RELEASE));
    const floor = pins.findFloor(store, product);
    const blueprint = judgeRelease(envelope, keys, assignment, floor);
    if (!this.#sound.has(releaseDigest)) {
      await refuseUnsoundRelease(blueprint);
      if (this.#sound.size >= SOUND_MAX) this.#sound.clear();
      this.#sound.add(releaseDigest);
    }
    const resolve = await this.#resolverOf(releaseDigest, blueprint);
    resolve({ lockedParameters: [] }, assignment.parameters ?? {});
    return envelope;
  }

  async #resolverOf(releaseDigest: string, blueprint: Blueprint): Promise<ParameterResolver> {
    const known = this.#resolvers.get(releaseDigest);
    if (known !== undefined) return known;
    // The judges of schemas load here only: an agent at rest has no use for them.
    const { parameterResolver } = await import("@holdfast/shared/blueprint/parameters.ts");
    const resolver = parameterResolver(blueprint);
    if (this.#resolvers.size >= RESOLVERS_MAX) this.#resolvers.clear();
    this.#resolvers.set(releaseDigest, resolver);
    return resolver;
  }

  /** Once for all instances that want it. */
  async #fetch(digest: string): Promise<Envelope> {
    const under = this.#fetching.get(digest);
    if (under !== undefined) return await under;
    const { fetch, signal } = this.#deps;
    const fetched = fetch.fetchRelease(digest, signal).finally(() => {
      this.#fetching.delete(digest);
    });
    this.#fetching.set(digest, fetched);
    return await fetched;
  }

  #entitle(instanceId: string, envelope: Envelope): void {
    const { store, addressee } = this.#deps;
    const held = assignments.findEntitlement(store, instanceId);
    const keys = keysOf(pins.findKeySet(store, KeyPurpose.ASSIGNMENT));
    const holding = held && { generation: held.revision, digest: held.digest };
    const judged = judgeEntitlement(envelope, keys, addressee, instanceId, holding);
    if (judged.verdict === "keep") return;
    const { revision, digest } = judged;
    assignments.replaceEntitlement(store, { instanceId, envelope, digest, revision });
    this.#deps.changed(instanceId);
  }

  #refuse(
    instanceId: string,
    claim: Readonly<{ generation: Generation; releaseVersion: string }>,
    { reason, message }: Fault,
  ): void {
    const { store, clock, log } = this.#deps;
    log.warn({ instance: shown(instanceId), reason, message }, "offer refused");
    if (!isInstanceId(instanceId)) return;
    const known = assignments.findRefusal(store, instanceId);
    // The hub offers again at each contact: the same refusal keeps its time.
    if (known?.reason === reason && known.message === message) return;
    const at = clock.now();
    assignments.putRefusal(store, { instanceId, ...claim, reason, message, at });
    this.#deps.changed(instanceId);
  }
}

function isInstanceId(text: string): boolean {
  try {
    return uuidOf("instance", text) !== "";
  } catch {
    return false;
  }
}

async function refuseUnsoundRelease(blueprint: Blueprint): Promise<void> {
  const { checkBlueprint } = await import("@holdfast/shared/blueprint/check.ts");
  const violations = checkBlueprint(blueprint);
  const [first] = violations;
  if (first !== undefined) {
    const more = violations.length > 1 ? ` (and ${violations.length - 1} more)` : "";
    throw refusal("BLUEPRINT_INVALID", describeViolation(first) + more);
  }
}

function refusal(reason: string, message: string): Fault {
  return new Fault("PERMISSION_DENIED", reason, message);
}
