/** The plan of a round comes from its seed alone, and is as hard as it says. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { describeAction, INSTANCES, type Plan, planRound } from "./plan.ts";

const LENGTH_MS = 12_000;
const plans = fc
  .tuple(fc.integer({ min: 1, max: 2 ** 31 - 1 }), fc.integer({ min: 1, max: 500 }))
  .map(([seed, round]) => planRound(seed, round, LENGTH_MS));

describe("the plan of a round", () => {
  it("is the same for the same seed, and another for the next round", () => {
    expect(planRound(7, 3, LENGTH_MS)).toEqual(planRound(7, 3, LENGTH_MS));
    expect(planRound(7, 4, LENGTH_MS).actions).not.toEqual(planRound(7, 3, LENGTH_MS).actions);
  });

  it("leaves one instance in peace and ends with a running one", () => {
    fc.assert(
      fc.property(plans, ({ quiet, busy, actions, final }) => {
        expect([quiet, busy].sort()).toEqual([...INSTANCES].sort());
        expect(final.isRunning).toBe(true);
        for (const { action } of actions) {
          if (action.kind === "freeze") expect(action.target).not.toBe(quiet);
        }
      }),
    );
  });

  it("kills a workload at most twice, and freezes it for less than its liveness checks bear", () => {
    fc.assert(
      fc.property(plans, ({ busy, actions }: Plan) => {
        const kills = actions.filter(({ action }) => action.kind === "kill-workload");
        expect(kills.length).toBeLessThanOrEqual(2);
        for (const { action } of actions) {
          if (action.kind !== "freeze" || action.target !== busy) continue;
          expect(action.forMs).toBeLessThanOrEqual(2_500);
        }
      }),
    );
  });

  it("has every kind of trouble within some rounds, each in words", () => {
    const rounds = Array.from({ length: 20 }, (_, at) => planRound(1, at + 1, LENGTH_MS));
    const actions = rounds.flatMap((plan) => plan.actions.map(({ action }) => action));
    expect(new Set(actions.map(({ kind }) => kind))).toEqual(
      new Set(["change", "kill", "kill-workload", "freeze", "network", "unplug"]),
    );
    for (const action of actions) expect(describeAction(action)).toMatch(/\w/);
  });
});
