/** Crash points of attempts over real containers: a web server whose versions follow each other. */
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, it } from "vitest";
import {
  type CrashScenario,
  describeCrashPoints,
  type Version,
} from "../../reconcile/crash-points.test-suite.ts";
import { CRASH_INSTANCE } from "../../reconcile/crash-world.test-world.ts";
import { describeRemovalPoints } from "../../reconcile/removal-points.test-suite.ts";
import type { JsonObject } from "../driver.ts";
import { findCopies } from "../engine/copies.ts";
import { volumeName } from "../engine/marks.ts";
import { createWorld, getFrom } from "./container.test-world.ts";
import { type DockerWorld, startDocker, whyNoDocker } from "./docker.test-world.ts";
import { writeImage } from "./images.test-world.ts";

const why = whyNoDocker();
const shared: { engine?: DockerWorld; image: string } = { image: "" };

beforeAll(async () => {
  if (why !== undefined) return console.log(why);
  shared.engine = await startDocker();
  shared.image = join(shared.engine.dir, "image.tar");
  await writeImage(shared.image);
  await shared.engine.preload(shared.image);
});
afterAll(() => shared.engine?.end());

/** `sick` never answers its probe. */
function specOf(version: Version): JsonObject {
  const [timeoutMs, deadlineMs] = version === "sick" ? [100, 250] : [1_000, 20_000];
  const http = { port: "http", path: "/cgi-bin/healthz" };
  return {
    image: { artefact: "worker" },
    env: { VERSION: version, MODE: version === "sick" ? "never-ready" : "" },
    ports: { http: { container: 8080 } },
    readiness: { http, intervalMs: 20, timeoutMs, deadlineMs },
    stop: { graceMs: 3_000 },
    restart: { baseMs: 50, capMs: 400 },
  };
}

function scenarioOf(): CrashScenario {
  const { engine, image } = shared;
  if (engine === undefined) throw new Error("no engine");
  const world = createWorld(engine, image);
  const one = (version: Version) => [{ id: "web", spec: specOf(version) }];
  return {
    driver: world.driver,
    context: world.context,
    artefacts: { worker: image },
    resources: { a: one("a"), b: one("b"), sick: one("sick") },
    outputs: { port: `\${resources.web.outputs.ports.http}` },
    ask: async ({ port }) => {
      if (typeof port !== "number") throw new Error("nothing is published");
      const said = await getFrom(engine, port, "/cgi-bin/version");
      const version = /^VERSION=(a|b|sick)$/m.exec(said)?.[1];
      if (version === undefined) throw new Error(`no answer: ${said}`);
      return version as Version;
    },
    // Folders in memory and networks that no container needs any more.
    leftovers: async () => {
      const copies = await findCopies(world.host, world.context);
      const kept = new Set(copies.map(({ handle }) => handle));
      const folders = readdirSync(world.host.memoryDir, { recursive: true, withFileTypes: true });
      const lost = folders.filter(({ name }) => name.startsWith("web-") && !kept.has(name));
      return lost.map(({ name }) => `a folder in memory of ${name}`);
    },
    end: world.end,
  };
}

/** A volume that holds something, which stays until it is destroyed. */
function withVolume(): CrashScenario {
  const its = scenarioOf();
  const volumes = { rows: { path: "/data" } };
  const a = [{ id: "web", spec: { ...specOf("a"), volumes } }];
  const fill = async () => {
    const { Mountpoint } = (await shared.engine?.dock.ask("volume", its.context.signal, (docker) =>
      docker.getVolume(volumeName(its.context.stateDir, CRASH_INSTANCE, "rows")).inspect(),
    )) ?? { Mountpoint: "" };
    writeFileSync(join(Mountpoint, "kept"), "kept");
  };
  return { ...its, fill, resources: { ...its.resources, a } };
}

if (why === undefined) {
  describeCrashPoints("container", scenarioOf);
  describeRemovalPoints("container", withVolume, { keepsData: true, pointsMax: 3 });
} else describe("crash points: container", () => void it(why, () => console.log(why)));
