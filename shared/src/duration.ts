/** Durations as people write them, such as `90s`. One number, one unit; nothing else is understood. */

const MS_OF_UNIT: ReadonlyMap<string, number> = new Map([
  ["ms", 1],
  ["s", 1_000],
  ["m", 60_000],
  ["h", 3_600_000],
  ["d", 86_400_000],
]);

/** Milliseconds of `90s`, `15m`, `1h`: one whole number with a unit; undefined for anything else. */
export function durationMs(given: string): number | undefined {
  const found = /^(0|[1-9]\d{0,11})(ms|s|m|h|d)$/.exec(given);
  const unit = MS_OF_UNIT.get(found?.[2] ?? "");
  return found === null || unit === undefined ? undefined : Number(found[1]) * unit;
}

/** What `durationMs` accepts, for messages. */
export const DURATION_RULE = "a whole number with a unit: ms, s, m, h or d";
