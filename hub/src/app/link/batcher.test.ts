/** What holds of questions that go together: one is not delayed, many share, none fails for another's sake. */
import type { Clock } from "@holdfast/shared/clock.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { describe, expect, it } from "vitest";
import { type AskAll, BATCH_GAP_MS, BATCH_MAX, Batcher } from "./batcher.ts";

/** For which a moment has passed whenever it is asked. */
const quick: Clock = {
  now: () => 0,
  monotonic: (
    (ms) => () =>
      (ms += BATCH_GAP_MS)
  )(0),
  sleep: () => Promise.resolve(),
};

/** Answers each number with its double; remembers how they came together, and can be held. */
function doubler(gate: Promise<void> = Promise.resolve(), clock = quick) {
  const batches: (readonly number[])[] = [];
  const askAll: AskAll<number, number> = async (_vendor, questions) => {
    batches.push(questions);
    await gate;
    return questions.map((each) => each * 2);
  };
  return { batches, batcher: new Batcher(askAll, clock) };
}

const upTo = (count: number) => Array.from({ length: count }, (_, at) => at);

describe("a batcher", () => {
  it("asks for one alone at once", async () => {
    const { batches, batcher } = doubler();
    expect(await batcher.ask("v", 21)).toBe(42);
    expect(batches).toEqual([[21]]);
  });

  it("asks for those of one moment together, in bounded batches, each with its own answer", async () => {
    const { batches, batcher } = doubler();
    const asked = upTo(300).map((each) => batcher.ask("v", each));
    expect(await Promise.all(asked)).toEqual(upTo(300).map((each) => each * 2));
    expect(batches.map(({ length }) => length)).toEqual([
      BATCH_MAX,
      BATCH_MAX,
      300 - 2 * BATCH_MAX,
    ]);
  });

  it("lets what comes meanwhile wait for the batches that are under way", async () => {
    const gate = Promise.withResolvers<void>();
    const { batches, batcher } = doubler(gate.promise);
    const asked = [batcher.ask("v", 0)];
    await turn();
    asked.push(batcher.ask("v", 1));
    await turn();
    asked.push(batcher.ask("v", 2), batcher.ask("v", 3));
    await turn();
    expect(batches).toEqual([[0], [1]]);
    gate.resolve();
    expect(await Promise.all(asked)).toEqual([0, 2, 4, 6]);
    expect(batches).toEqual([[0], [1], [2, 3]]);
  });

  it("gathers what comes within a moment of the last batch, however quick that was", async () => {
    const moment = Promise.withResolvers<void>();
    const clock = { now: () => 0, monotonic: () => 0, sleep: () => moment.promise };
    const { batches, batcher } = doubler(undefined, clock);
    await batcher.ask("v", 1);
    const asked = [2, 3].map((each) => batcher.ask("v", each));
    await turn();
    await turn();
    expect(batches).toEqual([[1]]);
    moment.resolve();
    expect(await Promise.all(asked)).toEqual([4, 6]);
    expect(batches).toEqual([[1], [2, 3]]);
  });

  it("answers in order where it is to have one batch in flight", async () => {
    const gate = Promise.withResolvers<void>();
    const batches: (readonly number[])[] = [];
    const batcher = new Batcher<number, number>(
      async (_vendor, questions) => {
        batches.push(questions);
        await gate.promise;
        return questions;
      },
      quick,
      { inFlightMax: 1 },
    );
    const asked = [batcher.ask("v", 0)];
    await turn();
    asked.push(batcher.ask("v", 1));
    await turn();
    expect(batches).toEqual([[0]]);
    gate.resolve();
    expect(await Promise.all(asked)).toEqual([0, 1]);
    expect(batches).toEqual([[0], [1]]);
  });

  it("never mixes vendors", async () => {
    const seen: string[] = [];
    const batcher = new Batcher<number, number>(async (vendor, questions) => {
      seen.push(`${vendor}:${questions.join()}`);
      return questions;
    }, quick);
    await Promise.all([batcher.ask("a", 1), batcher.ask("b", 2), batcher.ask("a", 3)]);
    expect(seen.sort()).toEqual(["a:1,3", "b:2"]);
  });

  it("gives one its own fault and the others their answers", async () => {
    const gone = new Fault("UNAUTHENTICATED", "AGENT_GONE", "gone");
    const batcher = new Batcher<number, number>(
      async (_vendor, questions) => questions.map((each) => (each === 2 ? gone : each)),
      quick,
    );
    const asked = [1, 2, 3].map((each) => batcher.ask("v", each));
    const settled = await Promise.allSettled(asked);
    expect(settled.map((each) => (each.status === "fulfilled" ? each.value : each.reason))).toEqual(
      [1, gone, 3],
    );
  });

  it("tries one by one what fails for all together", async () => {
    const batcher = new Batcher<number, number>(async (_vendor, questions) => {
      if (questions.includes(2)) throw new Fault("INVALID_ARGUMENT", "VALUE_REFUSED", "no");
      return questions;
    }, quick);
    const settled = await Promise.allSettled([1, 2, 3].map((each) => batcher.ask("v", each)));
    expect(settled.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  });

  it("does not hammer a database that is away: all of a batch learn of it at once", async () => {
    let asks = 0;
    const batcher = new Batcher<number, number>(async () => {
      asks += 1;
      throw new Fault("UNAVAILABLE", "DATABASE_UNAVAILABLE", "away");
    }, quick);
    const settled = await Promise.allSettled([1, 2, 3].map((each) => batcher.ask("v", each)));
    expect(settled.map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
    expect(asks).toBe(1);
  });
});

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
