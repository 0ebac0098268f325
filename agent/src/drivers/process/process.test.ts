/** What a started process gets, how it is stopped, and what is refused. Real processes, one state directory each. */
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ask, createWorld, INSTANCE, portOf, type World } from "./process.test-world.ts";

let world: World;
beforeEach(() => {
  world = createWorld();
});
afterEach(() => world.end());

describe("a started process", () => {
  it("gets arguments literally, whatever characters they hold", async () => {
    const nasty = [
      "; touch /tmp/x",
      "$(id)",
      "`id`",
      "a && b",
      "| cat",
      "'\"",
      "*",
      "%s%n",
      "a\nb",
      "",
    ];
    const argv = ["node", "worker.mjs", ...nasty];
    const live = await world.running(world.wanted({ with: { argv } }));
    expect((await ask(live)).argv).toEqual(nasty);
  });

  it("has an environment built from nothing", async () => {
    const wanted = world.wanted({ with: { env: { BATCH_ROWS: 500, FLAG: true } } });
    const live = await world.running(wanted);
    const { env, cwd, umask } = await ask(live);
    const runDir = join(world.context.directories(INSTANCE).run, live.handle);
    expect(env).toEqual({
      HOLDFAST_AGENT_STATE: world.stateDir,
      HOLDFAST_INSTANCE: INSTANCE,
      HOLDFAST_RESOURCE: "worker",
      HOLDFAST_COPY: live.handle,
      HOLDFAST_GENERATION: "1.1",
      HOLDFAST_DIGEST: wanted.digest,
      HOLDFAST_PORT_HTTP: String(portOf(live)),
      HOLDFAST_RELEASE: "1.0.0",
      HOLDFAST_RUN_DIR: runDir,
      HOLDFAST_DATA_DIR: world.context.directories(INSTANCE).data,
      HOLDFAST_SEATS_FILE: world.context.directories(INSTANCE).seatsFile,
      PATH: "/usr/local/bin:/usr/bin:/bin",
      LANG: "C.UTF-8",
      TZ: "UTC",
      BATCH_ROWS: "500",
      FLAG: "true",
    });
    expect({ cwd, umask }).toEqual({ cwd: runDir, umask: 0o077 });
  });
});
