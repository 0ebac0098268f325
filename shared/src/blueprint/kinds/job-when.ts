/**
 * When a job runs: at each change of it, before or after everything else of an attempt, or at times of a calendar.
 * Refuses a calendar that another cron would read otherwise, and times that never come.
 */
import { isTimeZone, readCalendar } from "../../cron.ts";
import { parseTemplate, wholeReference } from "../expression.ts";
import type { Shape } from "../shape.ts";
import type { SpecPath } from "./kind.ts";

export type JobSchedule = Readonly<{
  kind: "schedule";
  cron: string;
  timeZone: string;
  /** What becomes of times that passed while the agent was away: one run for all of them, or none. */
  missed: "once" | "skip";
  /** What a run that is due finds a former one still running: it is left out, or takes its place. */
  concurrency: "forbid" | "replace";
}>;

export type JobWhen = Readonly<{ kind: "change" | "before" | "after" }> | JobSchedule;

const HOOKS = ["before", "after"] as const;
const ANY_TEXT = { pattern: /^[\s\S]{1,520}$/, allowed: "five fields of cron in quotes" };
const CRON_RULE = 'five fields of cron that come some day, such as "30 2 * * *"';
const ZONE_RULE = "a name of the time zone database, such as Europe/Berlin";

/** The field `when` of a template or of a rendered spec. */
export function readWhen(parent: Shape): JobWhen {
  const shape = parent.object("when");
  if (shape === undefined) return { kind: "change" };
  const hook = shape.choice("hook", HOOKS);
  const schedule = readSchedule(shape);
  if (shape.has("hook") === shape.has("schedule")) {
    const rule = "hook: before, hook: after or schedule: {cron}; without `when`: at each change";
    parent.add("when", "needs one of hook and schedule", "", rule);
  }
  shape.finish();
  return schedule ?? { kind: hook ?? "change" };
}

function readSchedule(parent: Shape): JobSchedule | undefined {
  const shape = parent.object("schedule");
  if (shape === undefined) return undefined;
  const cron = shape.text("cron", ANY_TEXT, true) ?? "";
  const timeZone = shape.text("timeZone", { pattern: /^.{1,80}$/, allowed: ZONE_RULE }) ?? "UTC";
  const isKnown = !isOpen(timeZone);
  if (isKnown && !isTimeZone(timeZone)) {
    shape.add("timeZone", "not a time zone", timeZone, ZONE_RULE);
  } else if (cron !== "" && !isOpen(cron)) {
    const read = readCalendar(cron, isKnown ? timeZone : "UTC");
    if ("problem" in read) shape.add("cron", read.problem, cron, CRON_RULE);
  }
  const missed = shape.choice("missed", ["once", "skip"]) ?? "once";
  const concurrency = shape.choice("concurrency", ["forbid", "replace"]) ?? "forbid";
  shape.finish();
  return { kind: "schedule", cron, timeZone, missed, concurrency };
}

/** A customer may choose the hour: there one whole expression may stand. */
export function isScheduleText([field, part, name, ...deeper]: SpecPath): boolean {
  const isText = name === "cron" || name === "timeZone";
  return field === "when" && part === "schedule" && isText && deeper.length === 0;
}

function isOpen(text: string): boolean {
  const template = parseTemplate(text);
  return !("problem" in template) && wholeReference(template) !== undefined;
}
