/** Five rounds of the kill loop, fewer on a machine that is too busy for them; .ci/nightly runs two hundred. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runLoop } from "./loop.ts";

const ROUNDS = 5;
const ROUND_MS = 8_000;
/** No round begins after this; one that hangs is ended in order, before the test's own end leaves a fleet behind. */
const BEGIN_MS_MAX = 150_000;
const LOOP_MS_MAX = 330_000;
const END_MS_MAX = 60_000;
const STORY_LINES = 60;

const seed = Number(process.env["HOLDFAST_TEST_SEED"] ?? 1);
const failures =
  process.env["HOLDFAST_FAILURES"] ?? join(import.meta.dirname, "../../../.holdfast/failures");

describe("a fleet under constant change, killed, frozen and cut off", () => {
  it(
    "is as it was asked for after each round",
    async () => {
      const { passed, problems, left } = await runLoop({
        seed,
        rounds: ROUNDS,
        roundMs: ROUND_MS,
        portsFrom: 10_000 + (process.pid % 5_000) * 3,
        failures,
        beginMsMax: BEGIN_MS_MAX,
        signal: AbortSignal.timeout(LOOP_MS_MAX),
        say: (line) => console.log(line),
      });
      if (left !== undefined) tell(left);
      expect(problems).toEqual([]);
      console.log(`${passed} of ${ROUNDS} rounds`);
      expect(passed).toBeGreaterThan(0);
    },
    LOOP_MS_MAX + END_MS_MAX,
  );
});

/** A failure in CI has nothing but this to tell what went on. */
function tell(left: string): void {
  const story = join(left, "story.log");
  const lines = existsSync(story) ? readFileSync(story, "utf8").trimEnd().split("\n") : [];
  console.error(`logs and states: ${left}\n${lines.slice(-STORY_LINES).join("\n")}`);
}
