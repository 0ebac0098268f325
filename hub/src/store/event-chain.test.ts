/** Order and chain of events as pure functions. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  CHAIN_START,
  firstBreak,
  inOrder,
  payloadHash,
  place,
  type Waiting,
} from "./event-chain.ts";

const waiting = fc
  .record({
    tenantId: fc.constantFrom("t1", "t2", "t3"),
    subjectId: fc.constantFrom("a", "b", "c", "d"),
    subjectRevision: fc.bigInt(1n, 5n),
    ordinal: fc.nat(2),
    time: fc.nat(10),
  })
  .map(({ time, ...rest }) => ({ ...rest, occurredAt: new Date(time) }));
const batches = fc.array(waiting, { maxLength: 40 }).map((list) =>
  list.map((each, at): Waiting => {
    const payload = payloadHash(CHAIN_START, String(at));
    return { ...each, id: String(at).padStart(3, "0"), payloadHash: payload };
  }),
);

describe("inOrder", () => {
  it("keeps every event and orders those of a subject by revision", () => {
    fc.assert(
      fc.property(batches, (batch) => {
        const ordered = inOrder(batch);
        expect(new Set(ordered)).toEqual(new Set(batch));
        expect(ordered).toHaveLength(batch.length);
        for (const subject of ["a", "b", "c", "d"]) {
          const own = ordered.filter(({ subjectId }) => subjectId === subject);
          const revisions = own.map(({ subjectRevision }) => Number(subjectRevision));
          expect(revisions).toEqual(revisions.toSorted((x, y) => x - y));
        }
      }),
    );
  });

  it("orders different subjects by time", () => {
    const at = (id: string, time: number): Waiting => ({
      id,
      tenantId: "t",
      subjectId: id,
      subjectRevision: 1n,
      ordinal: 0,
      occurredAt: new Date(time),
      payloadHash: CHAIN_START,
    });
    expect(inOrder([at("a", 3), at("b", 1), at("c", 2)]).map(({ id }) => id)).toEqual([
      "b",
      "c",
      "a",
    ]);
  });
});

describe("place", () => {
  it("gives each chain dense positions and hashes that hold", () => {
    fc.assert(
      fc.property(batches, fc.bigInt(0n, 100n), (batch, feed) => {
        const { placed, heads } = place(inOrder(batch), new Map(), feed);
        expect(placed.map(({ feedPosition }) => feedPosition)).toEqual(
          placed.map((_, at) => feed + BigInt(at) + 1n),
        );
        for (const [tenantId, head] of heads) {
          const own = placed.filter((each) => each.tenantId === tenantId);
          const links = own.map((each) => ({
            ...each,
            payloadHash: batch.find(({ id }) => id === each.id)?.payloadHash ?? CHAIN_START,
            salt: null,
            payload: null,
          }));
          expect(firstBreak({ position: 0n, hash: CHAIN_START }, links)).toBeUndefined();
          expect(head.position).toBe(BigInt(own.length));
        }
      }),
    );
  });
});
