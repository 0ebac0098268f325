/** Values of --since and --until: a duration back from now, or a time. */
import { DURATION_RULE, durationMs } from "@holdfast/shared/duration.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";

/** In ms since 1970; undefined where the option is not given. Throws INVALID_ARGUMENT `USAGE`. */
export function timeOption(
  flag: string,
  text: string | undefined,
  nowMs: number,
): number | undefined {
  if (text === undefined) return undefined;
  const back = durationMs(text);
  if (back !== undefined) return nowMs - back;
  const time = /^\d{4}-\d\d-\d\d(T.*)?$/.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(time)) return time;
  const rule = `${DURATION_RULE} (24h), or a time (2026-11-20T08:00:00Z)`;
  throw new Fault("INVALID_ARGUMENT", "USAGE", `${flag}: got ${shown(text)}; allowed: ${rule}`);
}
