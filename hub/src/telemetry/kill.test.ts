/** The store under `kill -9`: what was answered is there, whole and once, whatever the moment. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { env, execPath } from "node:process";
import { expect, it } from "vitest";
import { TelemetryEngine } from "./engine.ts";
import type { LogPosition } from "./port.ts";
import { queryOf } from "./telemetry.fixture.ts";

/** More by hand: HOLDFAST_TEST_ROUNDS=100. */
const ROUNDS = Number(env["HOLDFAST_TEST_ROUNDS"] ?? 5);
const MIB = 1024 * 1024;
const CHUNK_LINES = 20;

/** Lets it append until it has said so often that it did, then kills it. The last append that was answered. */
function killedAfter(folder: string, from: number, answers: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const script = join(import.meta.dirname, "engine.test-child.ts");
    const child = spawn(execPath, [script, folder, String(from)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let said = "";
    child.stdout.on("data", (data: Buffer) => {
      said += data.toString();
      if (said.split("\n").length > answers) child.kill("SIGKILL");
    });
    child.once("error", reject);
    child.once("close", () => resolve(Number(said.trimEnd().split("\n").at(-1))));
  });
}

function linesIn(folder: string): readonly string[] {
  const bounds = { ageMsMax: 86_400_000, logBytesMax: 1_024 * MIB, sampleBytesMax: 16 * MIB };
  const engine = new TelemetryEngine({ folder, bounds, now: Date.now, note: () => undefined });
  const lines: string[] = [];
  let after: LogPosition | undefined;
  for (let more = true; more; ) {
    const page = engine.logs(queryOf({ after, limit: 5_000 }));
    lines.push(...page.lines.map(({ text }) => text));
    after = page.position;
    more = page.more;
  }
  engine.close();
  return lines;
}

it(
  "keeps every line that was answered, whole and once",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "hf-telemetry-kill-"));
    try {
      let from = 0;
      for (let round = 0; round < ROUNDS; round++) {
        const last = await killedAfter(folder, from, 20 + Math.floor(Math.random() * 300));
        const lines = linesIn(folder);
        expect(lines.length).toBeGreaterThanOrEqual((last + 1) * CHUNK_LINES);
        expect(lines.length % CHUNK_LINES).toBe(0);
        expect(lines).toEqual(Array.from({ length: lines.length }, (_, n) => `line ${n}`));
        // As an agent that did not hear the answers: it sends some of them again.
        from = Math.max(0, last - 5);
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
  30_000 + ROUNDS * 10_000,
);
