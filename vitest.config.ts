/** The one test run: unit tests beside the code, and the suites under test/. Prints the seed that repeats its chances. */
import { randomInt } from "node:crypto";
import { join } from "node:path";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

const SEED_MAX = 2 ** 31 - 1;
const seed = process.env["HOLDFAST_TEST_SEED"] ?? String(randomInt(1, SEED_MAX));
console.log(`seed ${seed} (repeat with HOLDFAST_TEST_SEED=${seed})`);

/** Suites that take long, whose files are short: what begins last must not take longest. */
const LONG =
  /\/(test\/(chaos\/kill-loop|e2e|sim|security)\/|agent\/src\/drivers\/(container|job)\/)/;

const ALL = [
  "{shared,hub,agent,sim,scripts}/**/*.test.{ts,mts}",
  "examples/*/**/*.test.{ts,mjs}",
  "test/**/*.test.ts",
];
/** What enumerates, floods or kills for minutes: CI runs it beside `npm test`, which is for every change. */
const ENDURANCE = [
  "agent/src/**/*.crash.test.ts",
  "agent/src/drivers/container/{disk,trouble}.test.ts",
  "test/chaos/**/*.test.ts",
  "test/e2e/takeover.test.ts",
  "test/security/{floods,fuzz,fuzz-link}.test.ts",
];
/** `quick`, `endurance`, or everything. */
const suites = process.env["HOLDFAST_TESTS"];

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const isLong = ({ moduleId }: TestSpecification) => LONG.test(moduleId);
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))];
  }
}

export default defineConfig({
  test: {
    include: suites === "endurance" ? ENDURANCE : ALL,
    exclude: [
      ...["**/node_modules/**", "**/dist/**", ".toolchain*/**", "test/bench/**"],
      ...(suites === "quick" ? ENDURANCE : []),
    ],
    env: {
      HOLDFAST_TEST_SEED: seed,
      // Half of what the many programs cost that tests start.
      NODE_COMPILE_CACHE: join(import.meta.dirname, "node_modules/.cache/holdfast-compile"),
    },
    sequence: { sequencer: LongFirst },
    globalSetup: "test/run-folder.ts",
    // The machines that must pass have two cores; the suites with servers of their own need both.
    pool: "forks",
    maxWorkers: 2,
    // Only what hangs is to meet these, on a busy machine too; no test says a shorter one.
    testTimeout: 240_000,
    hookTimeout: 240_000,
    teardownTimeout: 20_000,
    expect: { poll: { timeout: 60_000, interval: 20 } },
    allowOnly: false,
  },
});
