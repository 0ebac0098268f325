/** Chance that can be repeated: the same seed gives the same numbers, whatever else the process does. */
import type { Random } from "@holdfast/shared/clock.ts";

/** Uniform in [0, 1) (mulberry32). Streams of different names are independent of each other. */
export function seeded(seed: number, name = ""): Random {
  let state = seed >>> 0;
  for (const char of name) state = Math.imul(state ^ (char.codePointAt(0) ?? 0), 0x9e3779b1) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
