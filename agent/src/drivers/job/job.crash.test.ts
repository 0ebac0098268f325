/**
 * Crash points of attempts over a real job with an undo. Its program works on a file as on a database: it refuses to
 * run twice at once, and counts what it did, so that a run too many is found.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type CrashScenario,
  describeCrashPoints,
  type Version,
} from "../../reconcile/crash-points.test-suite.ts";
import { CRASH_INSTANCE } from "../../reconcile/crash-world.test-world.ts";
import { describeRemovalPoints } from "../../reconcile/removal-points.test-suite.ts";
import type { JsonObject } from "../driver.ts";
import { createWorld } from "./job.test-world.ts";

/** `migrate VERSION` notes who was there before; `migrate back` has that one be there again. */
const MIGRATE = `#!/bin/sh
cd "$HOLDFAST_DATA_DIR" || exit 9
mkdir busy || { echo "$* beside another" >>odd; exit 8; }
case $1 in
  back) [ -f before ] && mv before version ;;
  *) [ "$(cat version 2>/dev/null)" = "$1" ] || { cat version >before 2>/dev/null; echo "$1" >version; } ;;
esac
rmdir busy
[ "$1" != sick ]
`;

function specOf(version: Version): JsonObject {
  return {
    artefact: "tools",
    argv: ["migrate", version],
    undo: { argv: ["migrate", "back"] },
    deadlineMs: 20_000,
    stop: { graceMs: 1_000 },
    backoff: { baseMs: 10, capMs: 20 },
  };
}

function scenario(): CrashScenario {
  const world = createWorld();
  writeFileSync(join(world.stateDir, "artefact/migrate"), MIGRATE, { mode: 0o755 });
  const data = (name: string) => join(world.context.directories(CRASH_INSTANCE).data, name);
  const one = (version: Version) => [{ id: "migrate", spec: specOf(version) }];
  return {
    driver: world.driver,
    context: world.context,
    artefacts: { tools: join(world.stateDir, "artefact") },
    resources: { a: one("a"), b: one("b"), sick: one("sick") },
    ask: async () => readFileSync(data("version"), "utf8").trim() as Version,
    leftovers: async () => ["odd", "busy"].filter((name) => existsSync(data(name))),
    end: world.end,
  };
}

describeCrashPoints("job", scenario);
describeRemovalPoints("job", scenario, { keepsData: false });
