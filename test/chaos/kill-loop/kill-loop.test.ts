/** Five rounds of the kill loop; .ci/nightly runs two hundred. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runLoop } from "./loop.ts";

const ROUNDS = 5;
const ROUND_MS = 8_000;
const LOOP_MS_MAX = 240_000;
const STORY_LINES = 60;

const seed = Number(process.env["HOLDFAST_TEST_SEED"] ?? 1);
const failures =
  process.env["HOLDFAST_FAILURES"] ?? join(import.meta.dirname, "../../../.holdfast/failures");

describe("a fleet under constant change, killed, frozen and cut off", () => {
  it(
    `is as it was asked for after each of ${ROUNDS} rounds`,
    async () => {
      const { passed, problems, left } = await runLoop({
        seed,
        rounds: ROUNDS,
        roundMs: ROUND_MS,
        portsFrom: 10_000 + (process.pid % 5_000) * 3,
        failures,
        say: (line) => console.log(line),
      });
      if (left !== undefined) tell(left);
      expect(problems).toEqual([]);
      expect(passed).toBe(ROUNDS);
    },
    LOOP_MS_MAX,
  );
});

/** A failure in CI has nothing but this to tell what went on. */
function tell(left: string): void {
  const story = join(left, "story.log");
  const lines = existsSync(story) ? readFileSync(story, "utf8").trimEnd().split("\n") : [];
  console.error(`logs and states: ${left}\n${lines.slice(-STORY_LINES).join("\n")}`);
}
