/**
 * What a simulated agent pins, in memory: key sets, floors, the freshness note. Judged by the agent's own rules. Equal
 * documents are kept once for all agents of a process.
 */
import { fromBinary } from "@bufbuild/protobuf";
import {
  type Addressee,
  judgeFloor,
  judgeFreshness,
  judgeKeySet,
  keysOf,
} from "@holdfast/agent/src/assignments/judge.ts";
import {
  type Freshness,
  FreshnessSchema,
} from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import type { Envelope } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { KeyPurpose, type KeySet } from "@holdfast/proto/holdfast/model/v1/keys_pb.js";
import { digestOf } from "@holdfast/shared/digest.ts";
import type { VerificationKey } from "@holdfast/shared/dsse.ts";

/** Key sets that a process keeps once; a vendor has two at a time. */
const KEY_SETS_MAX = 100;

export type Pinned = Readonly<{ set: KeySet; keys: readonly VerificationKey[] }>;

/** Key sets by the digest of their bytes. */
export class KeySets {
  readonly #known = new Map<string, Pinned>();

  of(payload: Uint8Array, set: KeySet): Pinned {
    const digest = digestOf(payload);
    const known = this.#known.get(digest) ?? { set, keys: keysOf(set) };
    if (this.#known.size >= KEY_SETS_MAX) this.#known.clear();
    this.#known.set(digest, known);
    return known;
  }
}

export class Trust {
  readonly #to: Addressee;
  readonly #shared: KeySets;
  readonly #pinned = new Map<KeyPurpose, Pinned>();
  readonly #floors = new Map<string, bigint>();
  #note: Freshness | undefined;

  constructor(to: Addressee, shared: KeySets) {
    this.#to = to;
    this.#shared = shared;
  }

  get keySets(): readonly KeySet[] {
    return [...this.#pinned.values()].map(({ set }) => set);
  }

  get floors(): ReadonlyMap<string, bigint> {
    return this.#floors;
  }

  keys(purpose: KeyPurpose): readonly VerificationKey[] {
    return this.#pinned.get(purpose)?.keys ?? [];
  }

  floor(product: string): bigint {
    return this.#floors.get(product) ?? 0n;
  }

  /** Throws a Fault with the rule that it breaks. */
  pin(envelope: Envelope): void {
    const held = (purpose: KeyPurpose) => this.#pinned.get(purpose)?.set;
    const { verdict, set, payload } = judgeKeySet(envelope, held, this.#to.vendorId);
    if (verdict === "replace") this.#pinned.set(set.purpose, this.#shared.of(payload, set));
  }

  /** Throws a Fault with the rule that it breaks. A lower floor changes nothing. */
  raise(envelope: Envelope): void {
    const keys = this.keys(KeyPurpose.RELEASE);
    const { product, minReleaseNumber } = judgeFloor(envelope, keys, this.#to.vendorId);
    if (minReleaseNumber > this.floor(product)) this.#floors.set(product, minReleaseNumber);
  }

  /** Throws a Fault with the rule that it breaks. */
  note(envelope: Envelope): void {
    judgeFreshness(envelope, this.keys(KeyPurpose.ASSIGNMENT), this.#to, this.#note);
    this.#note = fromBinary(FreshnessSchema, envelope.payload);
  }
}
