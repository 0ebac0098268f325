/**
 * Crash points of attempts over a real job in a container, with an undo. Its program works on a file of a volume as on a
 * database, and notes where it runs twice at once. Of the two upgrades the one that returns, since it goes all the way
 * of the other, and of its points each fifth; HOLDFAST_CRASH_POINTS=all has all of both.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, it } from "vitest";
import {
  type CrashScenario,
  describeCrashPoints,
  type Version,
} from "../../reconcile/crash-points.test-suite.ts";
import { CRASH_INSTANCE } from "../../reconcile/crash-world.test-world.ts";
import { type DockerWorld, startDocker, whyNoDocker } from "../container/docker.test-world.ts";
import { writeImage } from "../container/images.test-world.ts";
import type { JsonObject } from "../driver.ts";
import { createJobWorld } from "./container-job.test-world.ts";

const why = whyNoDocker();
const shared: { engine?: DockerWorld; image: string } = { image: "" };
const isWhole = process.env["HOLDFAST_CRASH_POINTS"] === "all";
/** Of the first crashes; jobs on the host, which cost less, have every one of them. */
const PACE = 5;

beforeAll(async () => {
  if (why !== undefined) return;
  shared.engine = await startDocker();
  shared.image = join(shared.engine.dir, "image.tar");
  await writeImage(shared.image);
  await shared.engine.preload(shared.image);
});
afterAll(() => shared.engine?.end());

/** `VERSION` notes who was there before; `back` has that one be there again. */
const MIGRATE = `cd /data || exit 9
mkdir busy || { echo "$* beside another" >>odd; exit 8; }
case $1 in
  back) [ -f before ] && /bin/busybox mv before version ;;
  *) [ "$(cat version 2>/dev/null)" = "$1" ] || { cat version >before 2>/dev/null; echo "$1" >version; } ;;
esac
/bin/busybox rmdir busy
[ "$1" != sick ]
`;

function specOf(version: Version): JsonObject {
  const argv = (word: string) => ["/bin/sh", "-c", MIGRATE, "migrate", word];
  return {
    image: { artefact: "tools" },
    argv: argv(version),
    undo: { argv: argv("back") },
    volumes: { rows: { path: "/data" } },
    deadlineMs: 20_000,
    stop: { graceMs: 1_000 },
    backoff: { baseMs: 10, capMs: 20 },
  };
}

function scenarioOf(): CrashScenario {
  const { engine, image } = shared;
  if (engine === undefined) throw new Error("no engine");
  const world = createJobWorld(engine, image, { instanceId: CRASH_INSTANCE });
  const one = (version: Version) => [{ id: "migrate", spec: specOf(version) }];
  return {
    driver: world.driver,
    others: () => [world.containers()],
    context: world.context,
    artefacts: { tools: image },
    resources: { a: one("a"), b: one("b"), sick: one("sick") },
    ask: async () => readFileSync(world.dataFile("version"), "utf8").trim() as Version,
    leftovers: async () => ["odd", "busy"].filter((name) => existsSync(world.dataFile(name))),
    end: world.end,
  };
}

if (why !== undefined) {
  describe("crash points: job in a container", () => void it(why, () => console.log(why)));
} else {
  describeCrashPoints("job", scenarioOf, isWhole ? ["good", "sick"] : ["sick"], PACE);
}
