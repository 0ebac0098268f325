/** The reducer of a control stream: each promise by example, and what must hold whatever happens. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  CONTROL_START,
  type ControlEffect,
  type ControlEvent,
  type ControlState,
  controlStep,
  type LookName,
} from "./control-machine.ts";
import { NOTE_JITTER_MS, NOTE_MS_MIN, RETRY_BACKOFF } from "./limits.ts";

const half = () => 0.5;
const WELCOMED: ControlEvent = { type: "welcomed", held: 0, hasOrders: false };
const CHANGED: ControlEvent = { type: "changed" };
const offered = (written: number, more = false, isNews = written > 0): ControlEvent => ({
  ...{ type: "offered", written, isNews, more },
});

function run(...events: readonly ControlEvent[]) {
  let state: ControlState = CONTROL_START;
  let effects: readonly ControlEffect[] = [];
  for (const event of events) [state, effects] = controlStep(state, event, 0, half);
  return { state, effects };
}

const LOOK: ControlEffect = { type: "look", look: "offers" };
const NOTE_SOON: ControlEffect = {
  ...{ type: "timer", timer: "note", afterMs: NOTE_MS_MIN + NOTE_JITTER_MS / 2 },
};

describe("a control stream", () => {
  it("looks once it is welcomed, and at orders if there are any", () => {
    expect(run(WELCOMED).effects).toEqual([LOOK]);
    const { effects } = run({ type: "welcomed", held: 3, hasOrders: true });
    expect(effects).toEqual([LOOK, { type: "look", look: "orders" }]);
  });

  it("looks once more for any number of rings meanwhile", () => {
    expect(run(WELCOMED, CHANGED, CHANGED, CHANGED).effects).toEqual([]);
    expect(run(WELCOMED, CHANGED, CHANGED, offered(1)).effects).toEqual([LOOK]);
    expect(run(WELCOMED, CHANGED, offered(1), offered(0)).state.offers.at).toBe("idle");
  });

  it("asks for the next page while pages bring news, and no longer", () => {
    expect(run(WELCOMED, offered(64, true)).effects).toEqual([LOOK]);
    expect(run(WELCOMED, offered(64, true, false)).effects).toEqual([]);
  });

  it("has one note follow a change, and none the first look", () => {
    expect(run(WELCOMED, offered(5)).effects).toEqual([]);
    expect(run(WELCOMED, offered(5), CHANGED, offered(1)).effects).toEqual([NOTE_SOON]);
    const twice = [WELCOMED, offered(0), CHANGED, offered(1), CHANGED, offered(1)];
    expect(run(...twice).effects).toEqual([]);
    expect(run(...twice, { type: "timer", timer: "note" }).effects).toEqual([{ type: "note" }]);
    expect(run(WELCOMED, offered(0), CHANGED, offered(0)).effects).toEqual([]);
  });

  it("has a note follow a change that came in the middle of the first look", () => {
    expect(run(WELCOMED, CHANGED, offered(5), offered(0)).effects).toEqual([NOTE_SOON]);
  });

  it("tries a failed look again after a growing wait, rings or not", () => {
    const failed: ControlEvent = { type: "failed", look: "offers", reason: "UNAVAILABLE" };
    const timer: ControlEvent = { type: "timer", timer: "offers" };
    const waits = [run(WELCOMED, failed), run(WELCOMED, failed, CHANGED, timer, failed)];
    expect(waits.map(({ effects }) => effects)).toEqual(
      [0.5, 1].map((share) => [
        { type: "timer", timer: "offers", afterMs: share * RETRY_BACKOFF.baseMs },
      ]),
    );
    expect(run(WELCOMED, failed, CHANGED, timer).effects).toEqual([LOOK]);
    const well = run(WELCOMED, failed, timer, offered(0));
    expect(well.state.offers).toEqual({ at: "idle", isDue: false, failures: 0 });
  });

  it("does nothing once it is over", () => {
    const over = run(WELCOMED, { type: "ended", reason: "LEFT" }).state;
    expect(controlStep(over, CHANGED, 0, half)).toEqual([over, []]);
  });
});

/** The work and the timers that effects began and events end. */
type Ground = { looking: Record<LookName, number>; waiting: Record<LookName, boolean> };

describe("whatever happens", () => {
  it("no look runs beside its like, none is forgotten, and a ring is always followed by one", () => {
    const moves = fc.array(
      fc.record({ pick: fc.nat(6), isGood: fc.boolean(), more: fc.boolean() }),
      {
        maxLength: 80,
      },
    );
    fc.assert(
      fc.property(moves, (all) => {
        const ground: Ground = {
          looking: { offers: 0, orders: 0 },
          waiting: { offers: false, orders: false },
        };
        let state = CONTROL_START;
        const unseen: Record<LookName, boolean> = { offers: false, orders: false };
        const apply = (event: ControlEvent) => {
          if (event.type === "changed" || event.type === "welcomed") unseen.offers = true;
          if (event.type === "ordered") unseen.orders = true;
          const [next, effects] = controlStep(state, event, 0, half);
          state = next;
          for (const effect of effects) {
            if (effect.type === "look") {
              ground.looking[effect.look] += 1;
              unseen[effect.look] = false;
            }
            if (effect.type === "timer" && effect.timer !== "note")
              ground.waiting[effect.timer] = true;
          }
        };
        apply(WELCOMED);
        for (const { pick, isGood, more } of all) {
          const look: LookName = pick % 2 === 0 ? "offers" : "orders";
          if (pick < 2) apply(look === "offers" ? CHANGED : { type: "ordered" });
          else if (pick < 4 && ground.looking[look] > 0) {
            ground.looking[look] -= 1;
            if (!isGood) apply({ type: "failed", look, reason: "UNAVAILABLE" });
            else if (look === "offers") apply(offered(1, more));
            else apply({ type: "orders-given", written: 1 });
          } else if (pick >= 4 && ground.waiting[look]) {
            ground.waiting[look] = false;
            apply({ type: "timer", timer: look });
          }
          for (const name of ["offers", "orders"] as const) {
            expect(ground.looking[name]).toBeLessThanOrEqual(1);
            const isUnderWay = ground.looking[name] === 1 || ground.waiting[name];
            expect(state[name].at !== "idle", name).toBe(isUnderWay);
            if (unseen[name]) expect(isUnderWay, "a ring is followed by a look").toBe(true);
          }
        }
      }),
      { numRuns: 1_000 },
    );
  });
});
