/** The same as attempt.crash.test.ts with a real process and a real SIGKILL: what SQLite and the files hold then is the truth. */
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import * as attempts from "../store/attempts.ts";
import { agentWorld, instanceId } from "./engine.test-world.ts";
import { runChild } from "./killing.test-world.ts";

const CHILD = fileURLToPath(new URL("./crash.test-world.ts", import.meta.url));

let parent: string;
let base: string;

beforeAll(async () => {
  parent = mkdtempSync(join(tmpdir(), "holdfast-kill-"));
  const world = await agentWorld();
  base = world.stateDir;
  const agent = world.begin();
  await agent.intake.offered(world.offerOf({ number: 1n }));
  await agent.until(({ committedGeneration }) => committedGeneration?.number === 1n);
  await agent.end();
});
afterAll(() => {
  for (const path of [parent, base]) rmSync(path, { recursive: true, force: true });
});

describe.each([
  { mode: "", ends: "2", reason: "COMMITTED" },
  { mode: "sick", ends: "1", reason: "NOT_READY" },
])("an agent killed during an upgrade (new copy: '$mode')", ({ mode, ends, reason }) => {
  it("ends in the old or the new state wherever it was killed", async () => {
    let killed = 0;
    for (let at = 0; ; at++) {
      const when = at % 2 === 0 ? "before" : "after";
      const stateDir = join(parent, `${mode}-${at}`);
      cpSync(base, stateDir, { recursive: true });
      const end = await runChild(CHILD, [stateDir, mode, String(at), when]);
      if (end !== "SIGKILL") {
        expect(end).toBe("exit 0: ");
        break;
      }
      killed += 1;
      const world = await agentWorld(stateDir);
      const agent = world.begin();
      await agent.intake.offered(world.offerOf({ number: 2n, resources: [{ mode }] }));
      await agent.until(() => {
        const record = attempts.find(agent.store, instanceId());
        return (
          record?.phase === "ENDED" &&
          record.generation.number === 2n &&
          world.copies().length === 1
        );
      });
      const record = attempts.find(agent.store, instanceId());
      expect(record?.reason).toBe(reason);
      expect(world.copies()[0]?.file.number).toBe(ends);
      expect(attempts.listJournal(agent.store, instanceId())).toEqual([]);
      await agent.end();
    }
    expect(killed).toBeGreaterThanOrEqual(6);
  });
});
