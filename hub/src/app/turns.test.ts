/** Turns: one at a time under a key, in order, whatever becomes of those before, and not without end. */
import { describe, expect, it } from "vitest";
import { TURN_WAITERS_MAX, Turns } from "./turns.ts";

const { signal } = new AbortController();

describe("turns", () => {
  it("come one after the other under one key, in order, and beside each other under two", async () => {
    const turns = new Turns();
    const log: string[] = [];
    const gate = Promise.withResolvers<void>();
    const one = turns.take("a", signal, async () => {
      log.push("a1 begins");
      await gate.promise;
      log.push("a1 ends");
    });
    const two = turns.take("a", signal, async () => log.push("a2"));
    await turns.take("b", signal, async () => log.push("b"));
    expect(log).toEqual(["a1 begins", "b"]);
    gate.resolve();
    await Promise.all([one, two]);
    expect(log).toEqual(["a1 begins", "b", "a1 ends", "a2"]);
    expect(turns.size).toBe(0);
  });

  it("go on after a failure, and skip a caller that has gone", async () => {
    const turns = new Turns();
    const gone = new AbortController();
    const failing = turns.take("a", signal, () => Promise.reject(new Error("no")));
    const skipped = turns.take("a", gone.signal, async () => "ran");
    gone.abort();
    const last = turns.take("a", signal, async () => "ran");
    await expect(failing).rejects.toThrow("no");
    await expect(skipped).rejects.toMatchObject({ reason: "CALLER_GONE" });
    expect(await last).toBe("ran");
  });

  it("are refused to a storm, with limit, use and when to come back; a place is free again after it", async () => {
    const turns = new Turns();
    const gate = Promise.withResolvers<void>();
    const storm = Array.from({ length: 1_000 }, () => turns.take("a", signal, () => gate.promise));
    const ends = Promise.allSettled(storm);
    await expect(storm[TURN_WAITERS_MAX]).rejects.toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      reason: "TOO_MANY_AT_ONCE",
      retryAfterMs: 5_000,
      metadata: { limit: "256", used: "256", reset_ms: "5000" },
    });
    gate.resolve();
    const served = (await ends).filter(({ status }) => status === "fulfilled");
    expect(served).toHaveLength(TURN_WAITERS_MAX);
    expect(turns.size).toBe(0);
    expect(await turns.take("a", signal, async () => "again")).toBe("again");
  });
});
