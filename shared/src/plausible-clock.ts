/**
 * Whether a clock can be right. A machine that starts without a battery says 1970, a wrong digit says 2099: whoever
 * acts by such a clock calls what is good expired, or signs what nobody accepts. Pure.
 */

/** Nothing of ours was signed before the one or is good after the other. */
export const CLOCK_MS_MIN = Date.UTC(2026, 0, 1);
export const CLOCK_MS_MAX = Date.UTC(2080, 0, 1);
/** Clocks differ; by more than this from a time that was signed no clock is only a little slow. */
export const CLOCK_BEHIND_MS_MAX = 86_400_000;

/** `signedMs`: the newest time that was signed; `untilMs`: a time from which on nothing would be left to do anyway. */
export type ClockKnown = Readonly<{ signedMs?: number | undefined; untilMs?: number | undefined }>;

/** Undefined: it may be right. Else one line with both times. */
export function clockProblem(now: number, known: ClockKnown = {}): string | undefined {
  const { signedMs = CLOCK_MS_MIN, untilMs = CLOCK_MS_MAX } = known;
  const from = Math.max(CLOCK_MS_MIN, signedMs - CLOCK_BEHIND_MS_MAX);
  if (now >= from && now < Math.min(CLOCK_MS_MAX, untilMs)) return undefined;
  const last = known.signedMs === undefined ? "none" : timeText(known.signedMs);
  return `clock implausible: ${timeText(now)}, last signed time ${last}`;
}

/** Also of numbers that are no time. */
export function timeText(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? String(ms) : date.toISOString();
}
