/**
 * The order of an attempt, for any graph of resources of which any take any time and any hold a step that cannot be
 * taken back: all of it is done, in order, side by side as far as the limit goes, and what has no way back is last.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Begin, type Task, type TaskState, whatBegins } from "./schedule.ts";
import { runSideBySide } from "./side-by-side.ts";

const seed = Number(process.env["HOLDFAST_TEST_SEED"] ?? 1);

type Node = Task & Readonly<{ takes: number; isLast: boolean }>;

/** Each may need those with a smaller number; then shuffled, so that declaration order says nothing. */
const graphs = fc
  .array(
    fc.record({
      picks: fc.array(fc.nat(), { maxLength: 3 }),
      takes: fc.integer({ min: 1, max: 5 }),
      isLast: fc.boolean(),
    }),
    { maxLength: 14 },
  )
  .map((nodes) =>
    nodes.map(({ picks, takes, isLast }, n): Node => {
      const needs = n === 0 ? [] : [...new Set(picks.map((pick) => `r${pick % n}`))];
      return { id: `r${n}`, needs, takes, isLast };
    }),
  )
  .chain((nodes) => fc.shuffledSubarray(nodes, { minLength: nodes.length }));
const limits = fc.integer({ min: 1, max: 4 });

type Moment = Readonly<{ begin: Begin; states: ReadonlyMap<string, TaskState> }>;

/** Runs by a clock that counts; what began, each with the states right before it. */
function run(nodes: readonly Node[], atOnceMax: number): readonly Moment[] {
  const states = new Map<string, TaskState>();
  const left = new Map<string, number>();
  const moments: Moment[] = [];
  for (;;) {
    const begins = whatBegins(nodes, states, atOnceMax);
    for (const begin of begins) {
      const node = nodeOf(nodes, begin.id);
      const isPutOff = node.isLast && !begin.mayBeLast;
      if (!isPutOff) moments.push({ begin, states: new Map(states) });
      states.set(begin.id, isPutOff ? "last" : "busy");
      if (!isPutOff) left.set(begin.id, node.takes);
    }
    if (begins.length > 0) continue;
    if (left.size === 0) return moments;
    for (const [id, takes] of left) {
      if (takes > 1) left.set(id, takes - 1);
      else {
        left.delete(id);
        states.set(id, "done");
      }
    }
  }
}

function nodeOf(nodes: readonly Node[], id: string): Node {
  return nodes.find((node) => node.id === id) ?? { id, needs: [], takes: 1, isLast: false };
}

function needsOf(nodes: readonly Node[], id: string): ReadonlySet<string> {
  const all = new Set<string>();
  const add = (each: string): void => {
    for (const need of nodeOf(nodes, each).needs) {
      if (!all.has(need)) {
        all.add(need);
        add(need);
      }
    }
  };
  add(id);
  return all;
}

describe("the schedule of an attempt", () => {
  it("does everything once and nothing before what it needs", () => {
    fc.assert(
      fc.property(graphs, limits, (nodes, atOnceMax) => {
        const moments = run(nodes, atOnceMax);
        expect(moments.map(({ begin }) => begin.id).sort()).toEqual(
          nodes.map(({ id }) => id).sort(),
        );
        for (const { begin, states } of moments) {
          for (const need of nodeOf(nodes, begin.id).needs) expect(states.get(need)).toBe("done");
        }
      }),
      { seed },
    );
  });

  it("never has more under way than the limit, and leaves no room where something could begin", () => {
    fc.assert(
      fc.property(graphs, limits, (nodes, atOnceMax) => {
        for (const { begin, states } of run(nodes, atOnceMax)) {
          const busy = [...states.values()].filter((state) => state === "busy").length;
          expect(busy).toBeLessThan(begin.mayBeLast ? 1 : atOnceMax);
        }
        const open = nodes.filter(({ needs }) => needs.length === 0);
        const first = whatBegins(nodes, new Map(), atOnceMax);
        expect(first).toHaveLength(Math.min(open.length, atOnceMax));
      }),
      { seed },
    );
  });

  it("begins what has no way back once all is done that needs no such thing", () => {
    fc.assert(
      fc.property(graphs, limits, (nodes, atOnceMax) => {
        const isLast = new Set(nodes.filter((node) => node.isLast).map(({ id }) => id));
        for (const { begin, states } of run(nodes, atOnceMax)) {
          if (!isLast.has(begin.id)) continue;
          for (const { id } of nodes) {
            const waitsForLast = [...needsOf(nodes, id)].some(
              (need) => isLast.has(need) && states.get(need) !== "done",
            );
            if (id === begin.id || isLast.has(id) || waitsForLast) continue;
            expect({ before: begin.id, id, state: states.get(id) }).toEqual({
              ...{ before: begin.id, id, state: "done" },
            });
          }
        }
      }),
      { seed },
    );
  });

  it("prefers of several without a way back the one that more is waiting for", () => {
    const tasks = [
      { id: "a", needs: [] },
      { id: "b", needs: [] },
      { id: "c", needs: ["b"] },
    ];
    const states = new Map<string, TaskState>([
      ["a", "last"],
      ["b", "last"],
    ]);
    expect(whatBegins(tasks, states, 4)).toEqual([{ id: "b", mayBeLast: true }]);
  });
});

describe("work side by side", () => {
  it("begins nothing after a failure and rejects with the first one when the others have ended", async () => {
    const tasks = ["a", "b", "c"].map((id) => ({ id, needs: id === "c" ? ["b"] : [] }));
    const story: string[] = [];
    let stopped = (): void => undefined;
    const halt = new Promise<void>((resolve) => {
      stopped = resolve;
    });
    const work = async ({ id }: Begin): Promise<"done"> => {
      story.push(`${id} begins`);
      if (id === "a") throw new Error("a fails");
      await halt;
      story.push(`${id} ends`);
      throw new Error("stopped");
    };
    await expect(runSideBySide(tasks, work, stopped)).rejects.toThrow("a fails");
    expect(story).toEqual(["a begins", "b begins", "b ends"]);
  });

  it("comes back to what has no way back when the rest is done", async () => {
    const tasks = ["job", "web", "report"].map((id) => ({
      id,
      needs: id === "report" ? ["job"] : [],
    }));
    const story: string[] = [];
    const work = async ({ id, mayBeLast }: Begin): Promise<"done" | "last"> => {
      await Promise.resolve();
      if (id === "job" && !mayBeLast) return "last";
      story.push(id);
      return "done";
    };
    await runSideBySide(tasks, work, () => undefined);
    expect(story).toEqual(["web", "job", "report"]);
  });
});
