/** How one signal is sent, under a clock of the test's own. */
import { describe, expect, it } from "vitest";
import type { Weighed } from "./item.ts";
import type { Outcome } from "./port.ts";
import { RETRY_MS_MAX, Sender } from "./sender.ts";
import type { Answer } from "./verdict.ts";

const BYTES = 100;
const ok: Answer = { status: 200, contentType: "", retryAfter: "", body: new Uint8Array() };
const busy = (retryAfter = ""): Answer => ({ ...ok, status: 503, retryAfter });

/** One record for each number; -1 cannot be read. */
const waiting = (n: number): Weighed =>
  ({ signal: "logs", item: { n }, weight: 1, bytes: BYTES }) as unknown as Weighed;

function world(answers: (at: number) => Answer, bounds = { queue: 10 * BYTES, batch: 3 }) {
  const posted: string[] = [];
  const counts: Partial<Record<Outcome, number>> = {};
  const said: string[] = [];
  const slept: number[] = [];
  let now = 0;
  const sender = new Sender({
    signal: "logs",
    clock: {
      now: () => now,
      monotonic: () => now,
      sleep: async (ms, signal) => {
        // Waiting for something to do is not waiting; the queue's own bell ends it.
        if (ms > RETRY_MS_MAX) {
          await new Promise<void>((resolve) => {
            if (signal?.aborted) resolve();
            signal?.addEventListener("abort", () => resolve(), { once: true });
          });
        } else if (!signal?.aborted) {
          slept.push(ms);
          now += ms;
          await null;
        }
      },
    },
    random: () => 0.5,
    post: async (_, body, stop) => {
      if (stop.aborted) return { failed: "stopping" };
      posted.push(Buffer.from(body).toString());
      return answers(posted.length);
    },
    convert: ({ item }) => {
      const { n } = item as unknown as { n: number };
      return n < 0 ? undefined : [{ bytes: Buffer.from(String(n)), records: 1 }];
    },
    batchBytesMax: bounds.batch,
    queueBytesMax: bounds.queue,
    counted: (outcome, records) => {
      counts[outcome] = (counts[outcome] ?? 0) + records;
    },
    said: (level, text) => said.push(`${level}: ${text}`),
  });
  return { sender, posted, counts, said, slept };
}

async function sentAll(from: ReturnType<typeof world>, numbers: readonly number[]) {
  for (const n of numbers) from.sender.put(waiting(n));
  from.sender.stop();
  await from.sender.run();
}

describe("a signal", () => {
  it("goes in order, in requests of a bounded size", async () => {
    const it = world(() => ok);
    await sentAll(it, [1, 2, 3, 4, 5, 6, 7]);
    expect(it.posted).toEqual(["123", "456", "7"]);
    expect(it.counts).toEqual({ sent: 7, rejected: 0 });
    expect(it.sender.waitingBytes).toBe(0);
  });

  it("that is larger than a request may be goes alone", async () => {
    const it = world(() => ok);
    await sentAll(it, [1, 12_345, 2]);
    expect(it.posted).toEqual(["1", "12345", "2"]);
  });

  it("beyond the queue is counted, and what waits is kept", async () => {
    const it = world(() => ok);
    await sentAll(
      it,
      Array.from({ length: 14 }, (_, n) => n % 10),
    );
    expect(it.counts).toEqual({ QUEUE_FULL: 4, sent: 10, rejected: 0 });
    expect(it.posted.join("")).toBe("0123456789");
  });

  it("that cannot be read is counted, and the rest goes", async () => {
    const it = world(() => ok);
    await sentAll(it, [1, -1, 2]);
    expect(it.posted).toEqual(["12"]);
    expect(it.counts).toMatchObject({ DAMAGED: 1, sent: 2 });
  });

  it("is tried again, with growing pauses and not before it was asked to, and this is said once", async () => {
    const it = world((at) => (at <= 2 ? busy() : at === 3 ? busy("40") : ok));
    const run = it.sender.run();
    it.sender.put(waiting(7));
    while (it.posted.length < 4) await new Promise(setImmediate);
    it.sender.stop();
    await run;
    expect(it.posted).toEqual(["7", "7", "7", "7"]);
    expect(it.slept).toEqual([1_000, 500, 1_000, 40_000]);
    expect(it.counts).toEqual({ sent: 1, rejected: 0 });
    expect(it.said).toEqual([
      "warn: the collector does not take logs: HTTP 503",
      "info: the collector takes logs again",
    ]);
  });

  it("that is refused is dropped and counted, and the next one goes", async () => {
    const it = world((at) => (at === 1 ? { ...ok, status: 400 } : ok));
    await sentAll(it, [1, 2, 3, 4]);
    expect(it.counts).toEqual({ REFUSED: 3, sent: 1, rejected: 0 });
  });

  it("is given up when nobody has taken it for a quarter of an hour", async () => {
    const it = world(() => busy());
    const run = it.sender.run();
    for (const n of [1, 2, 3]) it.sender.put(waiting(n));
    while (it.counts.GAVE_UP === undefined) await new Promise(setImmediate);
    it.sender.stop();
    await run;
    expect(it.counts).toMatchObject({ GAVE_UP: 3 });
    expect(it.slept.reduce((sum, ms) => sum + ms, 0)).toBeGreaterThan(RETRY_MS_MAX);
    expect(Math.max(...it.slept)).toBeLessThanOrEqual(60_000);
  });

  it("is tried once more at the end, and then counted", async () => {
    const it = world(() => busy());
    await sentAll(it, [1, 2, 3, 4]);
    expect(it.posted).toEqual(["123", "4"]);
    expect(it.counts).toEqual({ STOPPED: 4 });
  });

  it("whose time is over ends without a word to the collector", async () => {
    const it = world(() => ok);
    for (const n of [1, 2, 3, 4]) it.sender.put(waiting(n));
    it.sender.end();
    await it.sender.run();
    expect(it.posted).toEqual([]);
    expect(it.counts).toEqual({ STOPPED: 4 });
  });
});
