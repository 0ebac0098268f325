/** Which clocks cannot be right, whoever asks. */
import { describe, expect, it } from "vitest";
import {
  CLOCK_BEHIND_MS_MAX,
  CLOCK_MS_MAX,
  CLOCK_MS_MIN,
  clockProblem,
} from "./plausible-clock.ts";

const SIGNED = Date.UTC(2026, 10, 20, 8);

describe("a clock", () => {
  it.each([0, -1, CLOCK_MS_MIN - 1, CLOCK_MS_MAX, Date.UTC(2099, 0, 1), 8.64e15, 1e18, Number.NaN])(
    "that says %d ms since 1970 cannot be right",
    (now) => {
      expect(clockProblem(now)).toMatch(/^clock implausible: .+, last signed time none$/);
    },
  );

  it("may be a day behind the newest signed time, and no more", () => {
    const known = { signedMs: SIGNED };
    expect(clockProblem(SIGNED - CLOCK_BEHIND_MS_MAX, known)).toBeUndefined();
    expect(clockProblem(SIGNED - CLOCK_BEHIND_MS_MAX - 1, known)).toBe(
      "clock implausible: 2026-11-19T07:59:59.999Z, last signed time 2026-11-20T08:00:00.000Z",
    );
  });

  it("may be ahead until there is nothing left to do", () => {
    const known = { signedMs: SIGNED, untilMs: SIGNED + 1_000 };
    expect(clockProblem(SIGNED + 999, known)).toBeUndefined();
    expect(clockProblem(SIGNED + 1_000, known)).toContain("clock implausible");
  });
});
