/** The decision of each pass, as a table. */
import { describe, expect, it } from "vitest";
import type { AttemptRecord } from "../store/attempts.ts";
import { decide, type Situation } from "./decide.ts";
import { FRESHNESS_LIFE_MS, judgeStale } from "./plan.ts";

const generation = (number: bigint) => ({ incarnation: 1n, number });
const wanted = (number: bigint, more = {}) => ({
  generation: generation(number),
  tombstone: false,
  removed: false,
  ...more,
});
const attempt = (number: bigint, more: Partial<AttemptRecord> = {}): AttemptRecord => ({
  instanceId: "ins",
  id: 1,
  generation: generation(number),
  releaseVersion: "1.0.0",
  inputsDigest: "same",
  phase: "ENDED",
  state: "RETURNED",
  reason: "",
  message: "",
  steps: [],
  stepsDigest: "",
  startedAt: 0,
  endedAt: 0,
  ...more,
});
const hold = { reason: "SECRET_MISSING", message: "" };
const base: Situation = {
  wanted: undefined,
  inputsDigest: "same",
  committed: undefined,
  attempt: undefined,
  isOutdated: false,
  hold: undefined,
};

describe("decide", () => {
  it.each<[string, Partial<Situation>, string]>([
    ["nothing wanted", { committed: generation(1n) }, "nothing"],
    ["a first wish", { wanted: wanted(1n) }, "attempt"],
    ["a newer wish", { wanted: wanted(2n), committed: generation(1n) }, "attempt"],
    ["what is committed", { wanted: wanted(1n), committed: generation(1n) }, "settle"],
    ["a hold", { wanted: wanted(1n), hold }, "hold"],
    [
      "a hold on what is committed",
      { wanted: wanted(1n), committed: generation(1n), hold },
      "settle",
    ],
    ["a failed attempt", { wanted: wanted(2n), attempt: attempt(2n) }, "settle"],
    [
      "a partial attempt",
      { wanted: wanted(2n), attempt: attempt(2n, { state: "PARTIAL" }) },
      "settle",
    ],
    [
      "a failed attempt with other inputs",
      { wanted: wanted(2n), attempt: attempt(2n, { inputsDigest: "other" }) },
      "attempt",
    ],
    ["a failed attempt at an older wish", { wanted: wanted(3n), attempt: attempt(2n) }, "attempt"],
    [
      "a superseded attempt",
      { wanted: wanted(2n), attempt: attempt(2n, { state: "SUPERSEDED" }) },
      "attempt",
    ],
    [
      "an attempt cut off",
      { wanted: wanted(2n), attempt: attempt(2n, { phase: "APPLYING" }) },
      "resume",
    ],
    [
      "an attempt cut off, and a hold",
      { wanted: wanted(2n), attempt: attempt(2n, { phase: "UNDOING" }), hold },
      "resume",
    ],
    [
      "a commit not cleaned up",
      {
        wanted: wanted(2n),
        committed: generation(2n),
        attempt: attempt(2n, { phase: "CLEANING" }),
      },
      "resume",
    ],
    [
      "a tombstone",
      { wanted: wanted(2n, { tombstone: true }), committed: generation(1n) },
      "remove",
    ],
    [
      "a tombstone during an attempt",
      { wanted: wanted(3n, { tombstone: true }), attempt: attempt(2n, { phase: "APPLYING" }) },
      "resume",
    ],
    [
      "a tombstone under a hold",
      { wanted: wanted(3n, { tombstone: true }), hold: { reason: "STALE", message: "" } },
      "hold",
    ],
    [
      "a removal that has begun, under a hold",
      {
        wanted: wanted(3n, { tombstone: true }),
        attempt: attempt(3n, { phase: "APPLYING" }),
        hold: { reason: "STALE", message: "" },
      },
      "remove",
    ],
    [
      "a tombstone that was executed",
      { wanted: wanted(2n, { tombstone: true, removed: true }) },
      "nothing",
    ],
  ])("answers %s", (_, situation, kind) => {
    expect(decide({ ...base, ...situation }).kind).toBe(kind);
  });
});

describe("judgeStale", () => {
  const at = (ms: number) => ({
    $typeName: "google.protobuf.Timestamp" as const,
    seconds: BigInt(ms / 1_000),
    nanos: 0,
  });
  it.each([
    ["no note, just accepted", undefined, 0, false],
    ["no note, accepted long ago", undefined, FRESHNESS_LIFE_MS + 1, true],
    ["a note that lasts", { signTime: at(0), expireTime: at(60_000) }, 59_000, false],
    ["a note that is over", { signTime: at(0), expireTime: at(60_000) }, 61_000, true],
    ["a note without an end", { signTime: at(0) }, FRESHNESS_LIFE_MS - 1, false],
    ["an old note without an end", { signTime: at(0) }, FRESHNESS_LIFE_MS + 1, true],
  ])("with %s", (_, note, now, isStale) => {
    const hold = judgeStale(note, 0, now);
    expect(hold?.reason).toBe(isStale ? "STALE" : undefined);
  });
});
