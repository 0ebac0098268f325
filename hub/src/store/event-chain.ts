/**
 * How events are hashed and ordered, as pure functions. hash = SHA-256(previous hash, position, payload
 * hash), payload hash = SHA-256(salt, payload): the chain holds after payload and salt are erased.
 */
import { sha256 } from "@holdfast/shared/digest.ts";

/** Before the first event of a chain. */
export const CHAIN_START: Uint8Array = new Uint8Array(32);

export function payloadHash(salt: Uint8Array, payload: string): Uint8Array {
  return sha256(salt, payload);
}

/** `position` from 1 on. */
export function chainHash(
  previous: Uint8Array,
  position: bigint,
  payloadDigest: Uint8Array,
): Uint8Array {
  const place = Buffer.alloc(8);
  place.writeBigUInt64BE(position);
  return sha256(previous, place, payloadDigest);
}

export type Waiting = Readonly<{
  id: string;
  tenantId: string;
  subjectId: string;
  subjectRevision: bigint;
  ordinal: number;
  occurredAt: Date;
  payloadHash: Uint8Array;
}>;

/**
 * By time, but events of one subject in the order of its revisions: the places that a subject has in the
 * order of time are filled in the order of its revisions.
 */
export function inOrder<Event extends Waiting>(events: readonly Event[]): readonly Event[] {
  const byRevision = Map.groupBy(
    events.toSorted(
      (a, b) =>
        compare(a.subjectRevision, b.subjectRevision) ||
        a.ordinal - b.ordinal ||
        compare(a.id, b.id),
    ),
    ({ subjectId }) => subjectId,
  );
  const byTime = events.toSorted(
    (a, b) => a.occurredAt.getTime() - b.occurredAt.getTime() || compare(a.id, b.id),
  );
  const taken = new Map<string, number>();
  return byTime.flatMap(({ subjectId }) => {
    const at = taken.get(subjectId) ?? 0;
    taken.set(subjectId, at + 1);
    return byRevision.get(subjectId)?.slice(at, at + 1) ?? [];
  });
}

function compare<T extends bigint | string>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export type Head = Readonly<{ position: bigint; hash: Uint8Array }>;
export type Placed = Readonly<{
  id: string;
  tenantId: string;
  position: bigint;
  feedPosition: bigint;
  hash: Uint8Array;
}>;

/** Positions and hashes for events in this order, and the heads after them. */
export function place(
  events: readonly Waiting[],
  heads: ReadonlyMap<string, Head>,
  feedPosition: bigint,
): Readonly<{ placed: readonly Placed[]; heads: ReadonlyMap<string, Head> }> {
  const now = new Map(heads);
  const placed = events.map((event, at): Placed => {
    const { tenantId } = event;
    const head = now.get(tenantId) ?? { position: 0n, hash: CHAIN_START };
    const position = head.position + 1n;
    const hash = chainHash(head.hash, position, event.payloadHash);
    now.set(tenantId, { position, hash });
    return { id: event.id, tenantId, position, hash, feedPosition: feedPosition + BigInt(at) + 1n };
  });
  return { placed, heads: now };
}

export type Link = Readonly<{
  position: bigint;
  hash: Uint8Array;
  payloadHash: Uint8Array;
  salt: Uint8Array | null;
  payload: string | null;
}>;

/** The first position at which the chain is broken, going on from `head`; undefined: it holds. */
export function firstBreak(head: Head, links: readonly Link[]): bigint | undefined {
  let { position, hash } = head;
  for (const link of links) {
    position += 1n;
    const isErased = link.payload === null || link.salt === null;
    const isPayload =
      isErased ||
      equal(payloadHash(link.salt ?? CHAIN_START, link.payload ?? ""), link.payloadHash);
    hash = chainHash(hash, position, link.payloadHash);
    if (link.position !== position || !isPayload || !equal(hash, link.hash)) return position;
  }
  return undefined;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
