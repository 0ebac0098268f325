/**
 * What comes next for one job. Pure: from how its newest run stands, its rules and the time; the same for the step that
 * waits for the end and for the plans that look in from time to time.
 */
import type { Calendar } from "@holdfast/shared/cron.ts";
import type { Ending, Outcome } from "./ledger.ts";
import { type JobSpec, pauseMs } from "./spec.ts";

export type Standing = Readonly<{
  number: number;
  try: number;
  /** `unbegun`: it was written down, and its program has not run for certain. */
  phase: "running" | "unbegun" | Outcome;
  /** Wall clock, ms; of a running one as far back as it has run by the clock that does not jump. */
  beganAt: number;
  endedAt?: number;
  dueAt?: number;
  /** Why it has to be ended before its deadline. */
  overuse?: string;
}>;

export type Rules = Pick<JobSpec, "deadlineMs" | "retries" | "backoff" | "effect">;

export type Move =
  | Readonly<{ do: "start"; try: number; at: number; dueAt?: number }>
  | Readonly<{ do: "end"; why: Ending; at: number }>
  /** It is over. */
  | Readonly<{ do: "nothing"; outcome: Outcome }>;

/** A start of the clock backwards must not stop a schedule for longer than this. */
const CLOCK_BACK_MS_MAX = 3_600_000;
/** One that was cut off is run again beyond its retries, but not for ever: it may be what ends its host. */
const CUT_OFF_MAX = 2;
/** Later than this a time counts as missed. */
const LATE_MS_MAX = 60_000;

export function nextMove(run: Standing | undefined, rules: Rules, now: number): Move {
  if (run === undefined) return { do: "start", try: 1, at: 0 };
  const due = run.dueAt === undefined ? {} : { dueAt: run.dueAt };
  switch (run.phase) {
    case "running":
      if (run.overuse !== undefined) return { do: "end", why: "limits", at: 0 };
      return { do: "end", why: "deadline", at: run.beganAt + rules.deadlineMs };
    case "unbegun":
      return { do: "start", try: run.try, at: 0, ...due };
    case "done":
      return { do: "nothing", outcome: "done" };
    case "unknown":
      // Whether it did its work nobody knows, and doing it twice cannot be taken back.
      if (rules.effect === "irreversible" || run.try > rules.retries + CUT_OFF_MAX) {
        return { do: "nothing", outcome: "unknown" };
      }
      return { do: "start", try: run.try + 1, at: 0, ...due };
    case "failed":
      if (run.try > rules.retries) return { do: "nothing", outcome: "failed" };
  }
  const endedAt = Math.min(run.endedAt ?? now, now);
  return { do: "start", try: run.try + 1, at: endedAt + pauseMs(rules, run.try), ...due };
}

type Timetable = Readonly<{
  calendar: Calendar;
  missed: "once" | "skip";
  concurrency: "forbid" | "replace";
  /** The schedule counts from here. */
  since: number;
}>;

/** As nextMove, for a job with a schedule: a time that has come goes before another try for an earlier one. */
export function nextScheduled(
  run: Standing | undefined,
  rules: Rules,
  timetable: Timetable,
  now: number,
): readonly Move[] {
  const due = dueAfter(run, timetable, now);
  const start: readonly Move[] =
    due === undefined ? [] : [{ do: "start", try: 1, at: due, dueAt: due }];
  if (run === undefined) return start;
  const move = nextMove(run, rules, now);
  if (move.do === "nothing") return start;
  if (move.do === "start") return due !== undefined && due <= now ? start : [move];
  if (timetable.concurrency === "forbid" || due === undefined || move.at <= now) return [move];
  if (due > now) return [move.at < due ? move : { do: "end", why: "replaced", at: due }];
  return [{ do: "end", why: "replaced", at: due }, ...start];
}

/** The time that is next, or of those that have passed the last one; undefined where none comes. */
function dueAfter(
  run: Standing | undefined,
  { calendar, missed, concurrency, since }: Timetable,
  now: number,
): number | undefined {
  const last = Math.max(since, run?.dueAt ?? 0);
  const isOver = run?.phase !== "running" && concurrency === "forbid";
  // Times that came while it still ran are left out.
  const from = isOver ? Math.max(last, run?.endedAt ?? 0) : last;
  const base = from - now > CLOCK_BACK_MS_MAX ? now : from;
  const next = calendar.after(base);
  if (next === undefined || next > now) return next;
  const latest = calendar.upTo(now) ?? next;
  return missed === "once" || now - latest <= LATE_MS_MAX ? latest : calendar.after(now);
}
