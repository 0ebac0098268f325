/** The fan-out of changes and the rule for two sessions of one agent. */
import { describe, expect, it } from "vitest";
import type { ControlSession } from "./control-session.ts";
import { Sessions } from "./sessions.ts";

const CELL = { vendorId: "v", cellId: "c" };

/** A session as far as the fan-out knows it. */
function session(agentId: string, number: bigint, refresh = () => {}) {
  const ended: unknown[] = [];
  const agent = { ...CELL, agentId, session: number };
  const rung = () => undefined;
  const made = { agent, rung, refresh, end: (fault: unknown) => ended.push(fault), ended };
  return made as unknown as ControlSession & { ended: unknown[] };
}

describe("sessions", () => {
  it("are woken in turns of at most 100, so that other work runs in between", async () => {
    const sessions = new Sessions();
    let inTurn = 0;
    let woken = 0;
    const turns: number[] = [];
    for (let n = 0; n < 1_050; n++) {
      sessions.add(
        session(`a${n}`, 1n, () => {
          inTurn += 1;
          woken += 1;
        }),
      );
    }
    sessions.ring(CELL);
    while (woken < 1_050 || inTurn > 0) {
      turns.push(inTurn);
      inTurn = 0;
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(Math.max(...turns)).toBe(100);
    expect(turns.filter((each) => each > 0)).toHaveLength(11);
  });

  it("are woken once for many rings", async () => {
    const sessions = new Sessions();
    let woken = 0;
    sessions.add(session("first", 1n));
    sessions.add(session("a", 1n, () => woken++));
    for (let n = 0; n < 100; n++) sessions.ring({ ...CELL, cellId: "other" });
    await new Promise((resolve) => setImmediate(resolve));
    expect(woken).toBe(0);
    for (let n = 0; n < 100; n++) sessions.ring(CELL);
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(woken).toBeLessThanOrEqual(2);
    expect(woken).toBeGreaterThan(0);
  });

  it("give way to a newer one of the same agent, and not to an older one", () => {
    const sessions = new Sessions();
    const [first, second] = [session("a", 1n), session("a", 2n)];
    sessions.add(first);
    sessions.add(second);
    expect(first.ended).toMatchObject([{ code: "ABORTED", reason: "SESSION_REPLACED" }]);
    expect(() => sessions.add(session("a", 1n))).toThrow(/newer session/);
    sessions.remove(first);
    expect(sessions.of("a")).toBe(second);
    sessions.remove(second);
    expect(sessions.count).toBe(0);
  });

  it("announce a spread of one second for each 500, and no less than one", () => {
    const sessions = new Sessions();
    expect(sessions.spreadMs).toBe(1_000);
    for (let n = 0; n < 1_500; n++) sessions.add(session(`a${n}`, 1n));
    expect(sessions.spreadMs).toBe(3_000);
  });
});
