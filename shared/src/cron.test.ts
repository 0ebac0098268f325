/** When a schedule comes, above all where the clock is changed. */
import { describe, expect, it } from "vitest";
import { type Calendar, readCalendar } from "./cron.ts";

function calendarOf(cron: string, timeZone = "Europe/Berlin"): Calendar {
  const read = readCalendar(cron, timeZone);
  if ("problem" in read) throw new Error(read.problem);
  return read;
}

function times(cron: string, from: string, count: number, timeZone?: string): readonly string[] {
  const { after } = calendarOf(cron, timeZone);
  const found: string[] = [];
  for (let at = Date.parse(from); found.length < count; ) {
    at = after(at) ?? Number.NaN;
    found.push(new Date(at).toISOString().slice(5, 16));
  }
  return found;
}

describe("a schedule", () => {
  it("follows the wall clock of its zone", () => {
    expect(times("0 6 * * MON", "2026-07-01T00:00:00Z", 2)).toEqual(["07-06T04:00", "07-13T04:00"]);
    expect(times("0 6 * * MON", "2026-12-01T00:00:00Z", 1)).toEqual(["12-07T05:00"]);
    expect(times("0 6 * * 1", "2026-12-01T00:00:00Z", 1, "UTC")).toEqual(["12-07T06:00"]);
  });

  it("runs at the end of the gap where its time of day is skipped", () => {
    const days = ["03-29T01:00", "03-30T00:30"];
    expect(times("30 2 * * *", "2026-03-28T12:00:00Z", 2)).toEqual(days);
    expect(times("0,30 2 * * *", "2026-03-28T12:00:00Z", 1)).toEqual(["03-29T01:00"]);
  });

  it("runs once, the first time, where its time of day comes twice", () => {
    const days = ["10-25T00:30", "10-26T01:30"];
    expect(times("30 2 * * *", "2026-10-24T12:00:00Z", 2)).toEqual(days);
  });

  it("that repeats within the hour goes on through both hours, and skips what is not there", () => {
    const twice = ["10-25T00:00", "10-25T00:30", "10-25T01:00", "10-25T01:30", "10-25T02:00"];
    expect(times("*/30 * * * *", "2026-10-24T23:50:00Z", 5)).toEqual(twice);
    const gap = ["03-29T00:30", "03-29T01:00", "03-29T01:30"];
    expect(times("*/30 * * * *", "2026-03-29T00:20:00Z", 3)).toEqual(gap);
  });

  it("says when it came last, the moment itself included", () => {
    const { upTo } = calendarOf("30 2 * * *");
    const at = Date.parse("2026-10-25T00:30:00Z");
    expect(upTo(at)).toBe(at);
    expect(upTo(at + 5_400_000)).toBe(at);
    expect(upTo(at - 1)).toBe(Date.parse("2026-10-24T00:30:00Z"));
  });

  it.each([
    ["", "UTC", "not five fields"],
    ["* * * *", "UTC", "not five fields"],
    ["* * * * * *", "UTC", "not five fields"],
    ["61 * * * *", "UTC", "not five fields"],
    ["*/0 * * * *", "UTC", "not five fields"],
    ["@daily", "UTC", "not five fields"],
    ["0 0 L * *", "UTC", "not five fields"],
    ["0 0 * * MON#1", "UTC", "not five fields"],
    ["0 0 30 2 *", "UTC", "never comes"],
    ["0 0 * * *", "Mars/Olympus", "not a time zone"],
    ["0 0 * * *", "", "not a time zone"],
    ["0 0 * * *", "../etc/passwd", "not a time zone"],
  ])("is refused: %j in %j", (cron, timeZone, says) => {
    expect(readCalendar(cron, timeZone)).toMatchObject({ problem: expect.stringContaining(says) });
  });
});
