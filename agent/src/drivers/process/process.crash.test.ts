/** Crash points of attempts over real processes: a web server and one that is told where it listens. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type CrashScenario,
  describeCrashPoints,
  type Version,
} from "../../reconcile/crash-points.test-suite.ts";
import { describeRemovalPoints } from "../../reconcile/removal-points.test-suite.ts";
import type { JsonObject } from "../driver.ts";
import { createWorld } from "./process.test-world.ts";

const SOURCE_PORT = `\${resources.source.outputs.ports.http}`;

/** `sick` never answers its probe. */
function specOf(version: Version, argv: readonly string[] = []): JsonObject {
  const [timeoutMs, deadlineMs] = version === "sick" ? [100, 250] : [1_000, 20_000];
  return {
    artefact: "worker",
    argv: ["node", "worker.mjs", ...argv],
    env: { VERSION: version, MODE: version === "sick" ? "never-ready" : "" },
    ports: { http: {} },
    readiness: { http: { port: "http", path: "/healthz" }, intervalMs: 20, timeoutMs, deadlineMs },
    stop: { graceMs: 3_000, drainMs: 0 },
    restart: { baseMs: 50, capMs: 400 },
  };
}

function scenario(): CrashScenario {
  const world = createWorld();
  const both = (version: Version) => [
    { id: "source", spec: specOf(version === "sick" ? "a" : version) },
    { id: "web", dependsOn: ["source"], spec: specOf(version, [SOURCE_PORT]) },
  ];
  return {
    driver: world.driver,
    context: world.context,
    artefacts: { worker: world.artefact },
    resources: { a: both("a"), b: both("b"), sick: both("sick") },
    outputs: { web: `http://127.0.0.1:\${resources.web.outputs.ports.http}/` },
    ask: async ({ web }) => {
      const answer = await fetch(String(web), { headers: { connection: "close" } });
      const { env } = (await answer.json()) as { env: { VERSION: Version } };
      return env.VERSION;
    },
    powerCut: world.kill,
    end: world.end,
  };
}

/** Nothing but a process, which begins and ends at once. */
function idle(): CrashScenario {
  const { outputs: _, ask: __, ...its } = scenario();
  const program = join(its.artefacts?.["worker"] ?? "", "idle");
  writeFileSync(program, "#!/bin/sh\nexec sleep 600\n", { mode: 0o755 });
  const a = [{ id: "idle", spec: { artefact: "worker", argv: ["idle"] } }];
  return { ...its, resources: { a, b: [] } };
}

describeCrashPoints("process", scenario);
describeRemovalPoints("process", idle, { keepsData: true });
