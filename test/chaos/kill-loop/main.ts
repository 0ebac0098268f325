/**
 * The kill loop as a command: npm run kill-loop -- [--rounds 200] [--seed N] [--seconds 12] [--failures DIR]
 * The seed is printed; HOLDFAST_TEST_SEED or --seed repeats it. Exit code 1 when something was wrong.
 */
import { randomInt } from "node:crypto";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { portsFromOf } from "../../../scripts/fleet/layout.ts";
import { runLoop } from "./loop.ts";

const SEED_MAX = 2 ** 31 - 1;
const text = { type: "string" } as const;
const { values } = parseArgs({
  options: {
    rounds: { ...text, default: "200" },
    seconds: { ...text, default: "12" },
    seed: text,
    failures: { ...text, default: join(import.meta.dirname, "../../../.holdfast/failures") },
  },
});

const interrupt = new AbortController();
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(name, () => interrupt.abort());
}
const seed = Number(values.seed ?? process.env["HOLDFAST_TEST_SEED"] ?? randomInt(1, SEED_MAX));
console.log(`seed ${seed} (repeat with HOLDFAST_TEST_SEED=${seed})`);
const startedAt = performance.now();
const { passed, problems, left } = await runLoop({
  seed,
  rounds: Number(values.rounds),
  roundMs: Number(values.seconds) * 1_000,
  portsFrom: portsFromOf(process.env),
  failures: values.failures,
  beginMsMax: Number.POSITIVE_INFINITY,
  signal: interrupt.signal,
  say: (line) => console.log(line),
});
const minutes = ((performance.now() - startedAt) / 60_000).toFixed(1);
console.log(`${passed} rounds passed, ${problems.length} problems, ${minutes} min`);
if (left !== undefined) console.log(`logs and states: ${left}`);
process.exit(problems.length === 0 ? 0 : 1);
