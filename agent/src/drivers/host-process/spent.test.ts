/** How processor time is added up: what has ended stays, what was handed on is not counted twice, nothing falls. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Basis, SEEN_PROCESSES_MAX, type SeenProcess, spentMs } from "./spent.ts";

const group = (ms: number): Basis => ({ kind: "group", ms });
const seen = (
  ...list: readonly (readonly [id: string, own: number, children: number])[]
): Basis => ({
  kind: "processes",
  seen: list.map(([id, ownMs, childrenMs]): SeenProcess => ({ id, ownMs, childrenMs })),
});

describe("spentMs", () => {
  it.each([
    { it: "takes the kernel's sum at first", sum: 0, before: undefined, now: group(70), is: 70 },
    { it: "adds what a group has grown by", sum: 70, before: group(70), now: group(95), is: 95 },
    { it: "stands where a group was lost", sum: 70, before: group(70), now: group(3), is: 70 },
    {
      it: "never falls when the kernel's sum comes back",
      sum: 90,
      before: seen(["a", 90, 0]),
      now: group(80),
      is: 90,
    },
    {
      it: "takes all that is seen at first",
      sum: 0,
      before: undefined,
      now: seen(["a", 5, 6]),
      is: 11,
    },
    {
      it: "adds what each has used",
      sum: 30,
      before: seen(["a", 10, 0], ["b", 20, 0]),
      now: seen(["a", 15, 0], ["b", 21, 0]),
      is: 36,
    },
    {
      it: "counts a new child whole",
      sum: 10,
      before: seen(["a", 10, 0]),
      now: seen(["a", 10, 0], ["b", 7, 0]),
      is: 17,
    },
    {
      it: "keeps the time of a child that nobody waited for",
      sum: 30,
      before: seen(["a", 10, 0], ["b", 20, 0]),
      now: seen(["a", 12, 0]),
      is: 32,
    },
    {
      it: "counts a child that its parent waited for once, with its last moments",
      sum: 30,
      before: seen(["a", 10, 0], ["b", 20, 0]),
      now: seen(["a", 12, 26]),
      is: 38,
    },
    {
      it: "counts a child that came and went between two samples",
      sum: 10,
      before: seen(["a", 10, 0]),
      now: seen(["a", 10, 9]),
      is: 19,
    },
  ])("$it", ({ sum, before, now, is }) => {
    expect(spentMs(sum, before, now)).toBe(is);
  });

  it("compares sums where there are too many to remember", () => {
    const many = seen(
      ...Array.from({ length: SEEN_PROCESSES_MAX + 1 }, (_, n) => [`p${n}`, 1, 0] as const),
    );
    expect(spentMs(400, many, many)).toBe(SEEN_PROCESSES_MAX + 1);
    expect(spentMs(1_000, many, many)).toBe(1_000);
  });

  it("is exact for trees in which everybody is waited for or nobody is, and never falls", () => {
    const life = fc.array(fc.record({ born: fc.boolean(), work: fc.nat(50), dies: fc.boolean() }), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(life, fc.boolean(), (moments, isWaited) => {
        const root = { id: "root", ownMs: 0, childrenMs: 0 };
        let children: { id: string; ownMs: number; childrenMs: number }[] = [];
        let truth = 0;
        let sum = 0;
        let before: Basis | undefined;
        for (const [n, { born, work, dies }] of moments.entries()) {
          if (born) children.push({ id: `c${n}`, ownMs: 0, childrenMs: 0 });
          for (const each of [root, ...children]) {
            each.ownMs += work;
            truth += work;
          }
          const next: Basis = {
            kind: "processes",
            seen: [root, ...children].map((each) => ({ ...each })),
          };
          const counted = spentMs(sum, before, next);
          expect(counted).toBeGreaterThanOrEqual(sum);
          expect(counted).toBe(truth);
          sum = counted;
          before = next;
          if (!dies) continue;
          // After the sample: what it used until then was seen.
          if (isWaited) for (const { ownMs } of children) root.childrenMs += ownMs;
          children = [];
        }
      }),
    );
  });
});
