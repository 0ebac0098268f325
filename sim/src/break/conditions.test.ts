/** The words of a bad network, and what they do to a piece. */
import { describe, expect, it } from "vitest";
import { CLEAR, describeConditions, latenessMs, parseOrder } from "./conditions.ts";

describe("orders", () => {
  it.each([
    ["delay=50ms", { delayMs: 50 }],
    ["jitter=1s", { jitterMs: 1_000 }],
    ["loss=0.5%", { lossShare: 0.005 }],
    ["bandwidth=64KiB", { bytesPerSecond: 65_536 }],
    ["bandwidth=0", { bytesPerSecond: 0 }],
    ["half-open=on", { halfOpen: true }],
    ["reset=off", { reset: false }],
    ["cuts=every=30s,for=5s", { cutEveryMs: 30_000, cutForMs: 5_000 }],
    ["cuts=off", { cutEveryMs: 0, cutForMs: 0 }],
  ])("set %s", (text, change) => {
    expect(parseOrder(text)).toEqual({ kind: "set", change });
  });

  it("do something once", () => {
    expect(parseOrder("cut=5s")).toEqual({ kind: "cut", forMs: 5_000 });
    expect(parseOrder("drop")).toEqual({ kind: "drop" });
    expect(parseOrder("status")).toEqual({ kind: "status" });
  });

  it.each([
    ["slower", "ORDER_UNKNOWN"],
    ["delay=50", "ORDER_VALUE"],
    ["loss=101%", "ORDER_VALUE"],
    ["bandwidth=fast", "ORDER_VALUE"],
    ["half-open=yes", "ORDER_VALUE"],
    ["cuts=every=5s,for=5s", "ORDER_VALUE"],
  ])("refuse %s", (text, reason) => {
    expect(() => parseOrder(text)).toThrow(expect.objectContaining({ reason }));
  });
});

describe("a piece", () => {
  it("is late by delay, a share of the jitter, and a retransmission if it is lost", () => {
    const conditions = { ...CLEAR, delayMs: 50, jitterMs: 20, lossShare: 0.1 };
    expect(latenessMs(conditions, [0.5, 0.5])).toBe(60);
    expect(latenessMs(conditions, [0, 0.05])).toBe(250);
    expect(latenessMs({ ...conditions, delayMs: 300 }, [0, 0.05])).toBe(900);
    expect(latenessMs(CLEAR, [0.9, 0])).toBe(0);
  });
});

describe("conditions", () => {
  it("are told in words", () => {
    expect(describeConditions(CLEAR)).toBe("clear");
    expect(describeConditions({ ...CLEAR, delayMs: 50, lossShare: 0.01, halfOpen: true })).toBe(
      "delay 50 ms, loss 1 %, half-open",
    );
  });
});
