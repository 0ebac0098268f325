/**
 * Times of day that come again: five fields of cron in a time zone. Pure; the rules of the hour that a change of the
 * clock skips or repeats are those of Vixie cron. Refuses what never comes, and what another cron would read otherwise.
 *
 *   a skipped time    `30 2 * * *` runs at the end of the gap; `*\/30` goes on at the first time that exists
 *   a repeated time   `30 2 * * *` runs once, the first time; `*\/30` runs in both hours
 */
import { Cron } from "croner";

export type Calendar = Readonly<{
  /** The first time after this one, ms; undefined where none comes in years. */
  after(ms: number): number | undefined;
  /** The last time at or before this one, ms. */
  upTo(ms: number): number | undefined;
}>;

/** Minute, hour, day of the month, month, day of the week: numbers, names, lists, ranges and steps. */
const FIELDS = /^[0-9A-Za-z*,/-]{1,100}( [0-9A-Za-z*,/-]{1,100}){4}$/;
/** Months and days of the week by name; other letters mean something in some crons alone. */
const WORDS = /^(JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC|SUN|MON|TUE|WED|THU|FRI|SAT)$/i;
const ZONE = /^[A-Za-z][A-Za-z0-9_+-]*(\/[A-Za-z0-9_+-]+){0,2}$/;
/** From there the first time is looked for when an expression is judged: any will do. */
const SOME_TIME_MS = 1_767_225_600_000;

/** The calendar, or what is wrong with the text. */
export function readCalendar(
  cron: string,
  timeZone: string,
): Calendar | Readonly<{ problem: string }> {
  const words = cron.match(/[A-Za-z]+/g) ?? [];
  if (!FIELDS.test(cron) || !words.every((word) => WORDS.test(word))) {
    return { problem: "not five fields of cron" };
  }
  if (!isTimeZone(timeZone)) return { problem: "not a time zone" };
  try {
    const parsed = new Cron(cron, {
      ...{ timezone: timeZone, mode: "5-part", fixedTimeRule: "no-wildcard", paused: true },
    });
    const calendar: Calendar = {
      after: (ms) => parsed.nextRun(new Date(ms))?.getTime(),
      // What is before a moment is asked for; the next whole second takes the moment itself in.
      upTo: (ms) => parsed.previousRuns(1, new Date(ms + 1))[0]?.getTime(),
    };
    return calendar.after(SOME_TIME_MS) === undefined
      ? { problem: "a time never comes" }
      : calendar;
  } catch {
    return { problem: "not five fields of cron" };
  }
}

export function isTimeZone(name: string): boolean {
  if (!ZONE.test(name)) return false;
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
