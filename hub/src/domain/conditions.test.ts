/** How reports become conditions, as tables. */
import { describe, expect, it } from "vitest";
import { type Condition, foldReport, viewConditions } from "./conditions.ts";

const EARLIER = "2026-11-20T10:00:00.000Z";
const NOW = "2026-11-20T11:00:00.000Z";
const said = (type: string, status: Condition["status"], reason = "R") => ({
  type,
  status,
  reason,
  message: "m",
});
const kept = (type: string, status: Condition["status"], reason = "R"): Condition => ({
  ...said(type, status, reason),
  lastTransitionTime: EARLIER,
});
const at = (number: bigint) => ({ incarnation: 1n, number });

describe("foldReport", () => {
  it.each([
    { it: "takes what is new", old: [], said: [said("Ready", "True")], time: NOW, changes: 1 },
    {
      it: "keeps the time while the status stays",
      old: [kept("Ready", "True")],
      said: [said("Ready", "True")],
      time: EARLIER,
      changes: 0,
    },
    {
      it: "keeps the time but tells of a new reason",
      old: [kept("Ready", "False", "A")],
      said: [said("Ready", "False", "B")],
      time: EARLIER,
      changes: 1,
    },
    {
      it: "sets the time when the status changes",
      old: [kept("Ready", "True")],
      said: [said("Ready", "False")],
      time: NOW,
      changes: 1,
    },
    {
      it: "keeps what is not mentioned",
      old: [kept("Ready", "True")],
      said: [],
      time: EARLIER,
      changes: 0,
    },
  ])("$it", ({ old, said: reported, time, changes }) => {
    const folded = foldReport(old, reported, NOW);
    expect(folded.conditions[0]?.lastTransitionTime).toBe(time);
    expect(folded.changes).toHaveLength(changes);
  });

  it("leaves out what an agent cannot know and words that do not exist", () => {
    const { conditions } = foldReport([], [said("Connected", "True"), said("Paid", "True")], NOW);
    expect(conditions).toEqual([]);
  });
});

describe("viewConditions", () => {
  const around = {
    assigned: at(2n),
    observed: at(2n),
    session: { isOpen: true, since: EARLIER },
    createdAt: EARLIER,
  };
  const word = (list: readonly Condition[], type: string) => {
    const found = list.find((each) => each.type === type);
    return `${found?.status} ${found?.reason}`;
  };

  it.each([
    { it: "knows a connected agent", with: {}, type: "Connected", want: "True SESSION_OPEN" },
    {
      it: "knows a lost agent",
      with: { session: { isOpen: false, since: NOW } },
      type: "Connected",
      want: "False NO_SESSION",
    },
    {
      it: "knows a cell without agent",
      with: { session: undefined },
      type: "Connected",
      want: "False NO_AGENT",
    },
    {
      it: "is not in sync while the agent holds an older wish",
      with: { observed: at(1n) },
      type: "InSync",
      want: "False ASSIGNMENT_PENDING",
    },
    {
      it: "is not in sync before the first report",
      with: { observed: undefined },
      type: "InSync",
      want: "False ASSIGNMENT_PENDING",
    },
    { it: "believes the agent about the present wish", with: {}, type: "InSync", want: "True R" },
    { it: "takes silence for unknown", with: {}, type: "Metered", want: "Unknown NOT_REPORTED" },
    {
      it: "keeps the last word of a lost agent",
      with: { session: { isOpen: false, since: NOW } },
      type: "InSync",
      want: "True R",
    },
  ])("$it", ({ with: change, type, want }) => {
    expect(word(viewConditions([kept("InSync", "True")], { ...around, ...change }), type)).toBe(
      want,
    );
  });
});
