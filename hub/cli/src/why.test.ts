/** What `holdfast instance why` answers, cause by cause: one screen, the reason, and what to do next. */
import type { JsonObject } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { answer } from "./commands/why.ts";

const NOW = Date.parse("2026-11-21T12:00:00Z");
const BEFORE = { incarnation: "1", number: "1" };
const WANTED = { incarnation: "1", number: "2" };
/** Lines of one screen. */
const LINES_MAX = 24;

type Given = Readonly<{
  attempt?: JsonObject;
  ready?: readonly [string, string, string];
  inSync?: readonly [string, string];
  connected?: string;
  allowed?: readonly [string, string];
  history?: readonly JsonObject[];
  /** The wanted generation serves. */
  serves?: boolean;
}>;

/** An instance that wants 1.2 while 1.1 serves, as the API shows it. */
function viewOf(given: Given): JsonObject {
  const lastTransitionTime = "2026-11-21T11:59:00Z";
  const condition = (type: string, status: string, reason: string, message: string) => {
    return { type, status, reason, message, lastTransitionTime };
  };
  const [reason, message] = given.inSync ?? ["COMMITTED", ""];
  const [state, readyReason, readyMessage] = given.ready ?? ["True", "READY", ""];
  const { connected, allowed, attempt, serves = false, history = [] } = given;
  return {
    metadata: { name: "orders", id: "ins_1", tenant: "acme" },
    spec: { release: "1.2.0" },
    status: {
      generation: WANTED,
      committedGeneration: serves ? WANTED : BEFORE,
      committedRelease: serves ? "1.2.0" : "1.1.0",
      conditions: [
        condition("Ready", state, readyReason, readyMessage),
        condition("InSync", serves ? "True" : "False", reason, message),
        condition("Connected", connected === undefined ? "True" : "False", "LOST", connected ?? ""),
        condition(
          "Allowed",
          allowed === undefined ? "True" : "False",
          ...(allowed ?? ["ALLOWED", ""]),
        ),
      ],
      ...(attempt !== undefined && {
        attempt: { generation: WANTED, releaseVersion: "1.2.0", ...attempt },
      }),
      history: [...history],
    },
  };
}

const failed = (state: string, reason: string, message: string): Given => ({
  inSync: [reason, message],
  attempt: { state: `ATTEMPT_STATE_${state}`, reason, message },
});
const held = (reason: string, message: string): Given => failed("HELD", reason, message);
const applying = (message: string): Given => ({
  inSync: ["ATTEMPT_APPLYING", message],
  attempt: { state: "ATTEMPT_STATE_RUNNING" },
});
const consent = "1.2: hours: changes from 22:00 to 04:00";

const CASES: readonly (readonly [string, Given, answer: string, because: string, next: string])[] =
  [
    [
      "an agent that is away",
      { ...{ inSync: ["PENDING", ""], connected: "last seen 11:30" } },
      "1.2.0 is not there yet",
      "last seen 11:30",
      "holdfast get agents --tenant acme",
    ],
    [
      "readiness",
      failed("RETURNED", "NOT_READY", "web: answers 503"),
      "1.2.0 failed and was rolled back",
      "NOT_READY: web: answers 503",
      "holdfast instance output orders --tenant acme shows what it said; then a release that becomes ready, or holdfast instance retry orders --tenant acme",
    ],
    [
      "a dependency",
      applying(
        "the attempt at 1.2 is under way: db: not ready yet: answers 503; web: waits for db",
      ),
      "1.2.0 is not there yet",
      "the attempt at 1.2 is under way: db: not ready yet: answers 503; web: waits for db",
      "holdfast wait instance orders --for InSync --tenant acme",
    ],
    [
      "a crash loop",
      { serves: true, ready: ["False", "CRASH_LOOP", "web: failed after 4 restarts: status 3"] },
      "1.2.0 is not there yet",
      "web: failed after 4 restarts: status 3",
      "holdfast logs orders --tenant acme shows its last words; it is started again by itself",
    ],
    [
      "a disk or a quota that is used up",
      failed("RETURNED", "DISK_FULL", "prepare web: ENOSPC"),
      "1.2.0 failed and was rolled back",
      "DISK_FULL: prepare web: ENOSPC",
      "make room on the agent's host (df -h); then holdfast instance retry orders --tenant acme",
    ],
    [
      "a port",
      failed("RETURNED", "PORT_IN_USE", "web: port 8080 is held by pid 7 (nginx)"),
      "1.2.0 failed and was rolled back",
      "PORT_IN_USE: web: port 8080 is held by pid 7 (nginx)",
      "end the holder that is named, or a release with another port; then holdfast instance retry orders --tenant acme",
    ],
    [
      "consent",
      { ...held("CONSENT_HELD", consent), allowed: ["CONSENT_HELD", consent] },
      "1.2.0 is held by the customer's rules",
      `CONSENT_HELD: ${consent}`,
      "holdfast-agent why orders (on the agent's host: its rules are the customer's)",
    ],
    [
      "recovery from the journal",
      applying("the attempt at 1.2 is under way, gone on with from its journal: web: waits for db"),
      "1.2.0 is not there yet",
      "the attempt at 1.2 is under way, gone on with from its journal: web: waits for db",
      "holdfast wait instance orders --for InSync --tenant acme",
    ],
    [
      "a missing driver",
      held("DRIVER_MISSING", "web: driver container: no Docker Engine answers"),
      "1.2.0 is not there yet",
      "DRIVER_MISSING: web: driver container: no Docker Engine answers",
      "install on the agent's host what the driver names, then start the agent anew; it begins by itself",
    ],
  ];

describe("why", () => {
  it.each(CASES)("names %s on one screen, and what to do", (_, given, verdict, because, next) => {
    const lines = answer(viewOf(given), undefined, NOW);
    const said = (word: string) => lines.find(([each]) => each === word)?.[1];
    expect({ verdict: said("answer"), because: said("because"), next: said("next") }).toEqual({
      ...{ verdict, because, next },
    });
    expect(lines.length).toBeLessThanOrEqual(LINES_MAX);
  });

  it("says of what had no way back which resource is where, and what failed before", () => {
    const message = "report/start: no; after db/migrate there is no way back";
    const partial = failed("PARTIAL", "DRIVER_FAILED", message);
    const lines = answer(
      viewOf({
        ...partial,
        attempt: {
          ...(partial.attempt ?? {}),
          resources: [
            { id: "db", place: "RESOURCE_PLACE_WANTED", generation: WANTED },
            { id: "report", place: "RESOURCE_PLACE_BETWEEN", generation: WANTED, message: "no" },
            { id: "web", place: "RESOURCE_PLACE_BEFORE", generation: BEFORE },
            { id: "mail", place: "RESOURCE_PLACE_BEFORE" },
          ],
        },
        history: [
          {
            ...{ generation: WANTED, releaseVersion: "1.2.0", reason: "NOT_READY", message: "503" },
            ...{ state: "ATTEMPT_STATE_RETURNED", endTime: "2026-11-21T11:00:00Z" },
          },
          { generation: BEFORE, releaseVersion: "1.1.0", state: "ATTEMPT_STATE_COMMITTED" },
        ],
      }),
      undefined,
      NOW,
    );
    expect(lines).toEqual(
      expect.arrayContaining([
        ["answer", "1.2.0 failed where there was no way back"],
        ["resource", "db: 1.2"],
        ["resource", "report: on its way to 1.2: no"],
        ["resource", "web: 1.1"],
        ["resource", "mail: not there"],
        ["before", "1.2.0, generation 1.2, returned 60m ago: NOT_READY: 503"],
        [
          "next",
          "there is no way back: mend the cause, then holdfast instance retry orders --tenant acme, or a newer release",
        ],
      ]),
    );
    expect(lines.filter(([word]) => word === "before")).toHaveLength(1);
  });
});
