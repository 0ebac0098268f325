/**
 * Crash points of the engine itself, over a driver whose copies are files: several resources at once, so that a crash
 * cuts off several steps, with one that fails half way, one that is sick, and one that restarts what the others name.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@holdfast/shared/clock.ts";
import { describe } from "vitest";
import { instanceDirectories } from "../local/directories.ts";
import {
  type CrashResource,
  type CrashScenario,
  describeCrashPoints,
  type Version,
} from "./crash-points.test-suite.ts";
import { CRASH_INSTANCE } from "./crash-world.test-world.ts";
import { quietLog } from "./engine.test-world.ts";
import { copies, fileDriver } from "./file-driver.test-world.ts";

const NEEDED = `\${resources.db.outputs.ports.http}`;

function resource(id: string, version: Version, mode: string, args: readonly string[] = []) {
  const spec = {
    artefact: "worker",
    argv: ["node", "main.mjs", version, ...args],
    ports: { http: {} },
  };
  return { id, spec: { ...spec, env: { MODE: mode } } };
}

/** `mode`: what the last one of the sick version does. */
function scenarioOf(mode: string): CrashScenario {
  const stateDir = mkdtempSync(join(tmpdir(), "holdfast-crash-"));
  const its = (version: Version): readonly CrashResource[] => {
    const isSick = version === "sick";
    return [
      resource("db", version, ""),
      resource("mail", version, ""),
      { ...resource("web", version, isSick ? mode : "", [NEEDED]), dependsOn: ["db"] },
    ];
  };
  const directories = (id: string) => instanceDirectories(stateDir, id);
  mkdirSync(directories(CRASH_INSTANCE).run, { recursive: true });
  return {
    driver: fileDriver,
    context: {
      ...{ log: quietLog, clock: systemClock, random: Math.random, stateDir, directories },
      signal: new AbortController().signal,
    },
    resources: { a: its("a"), b: its("b"), sick: its("sick") },
    outputs: { web: `\${resources.web.outputs.ports.http}` },
    // A request to a copy succeeds as long as the file is there that is its port.
    ask: async ({ web }) => {
      const found = copies({ stateDir }).find(({ file }) => file.port === web);
      if (found === undefined) throw new Error(`nobody listens on ${web}`);
      return found.file.argv[2] as Version;
    },
    powerCut: () => {
      const { run } = directories(CRASH_INSTANCE);
      for (const { handle, file } of copies({ stateDir })) {
        writeFileSync(join(run, handle), JSON.stringify({ ...file, exited: true }));
      }
    },
    end: async () => rmSync(stateDir, { recursive: true, force: true }),
  };
}

describe("resources of which one is to fail half way", () => {
  describeCrashPoints("process", () => scenarioOf("fail"));
});

describe("resources of which one is sick", () => {
  describeCrashPoints("process", () => scenarioOf("sick"), ["sick"]);
});
