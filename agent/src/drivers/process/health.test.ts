/** What probes of a real process say, and how the count of failed liveness probes outlives the driver. */
import { rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Health, JsonObject, Live, Wanted } from "../driver.ts";
import {
  ask,
  createWorld,
  eventually,
  INSTANCE,
  portOf,
  type World,
} from "./process.test-world.ts";

let world: World;
beforeEach(() => {
  world = createWorld();
});
afterEach(() => world.end());

const probing = (readiness: JsonObject) => world.wanted({ with: { readiness } });
const healthOf = (live: Live, wanted: Wanted) => world.driver().health(live, wanted, world.context);

/** Judges a copy that is ready by the usual probe with another one. */
async function judged(readiness: JsonObject): Promise<readonly [Health, Live]> {
  const live = await world.running(world.wanted());
  return [await healthOf(live, probing(readiness)), live];
}

describe("readiness", () => {
  it("is what the program answers", async () => {
    const [health, live] = await judged({ http: { port: "http", path: "/healthz" } });
    const message = `GET http://127.0.0.1:${portOf(live)}/healthz: 200`;
    expect(health).toEqual({ state: "ready", alive: true, message });
  });

  it("takes a redirect for an answer and does not follow it", async () => {
    const [health] = await judged({ http: { port: "http", path: "/elsewhere" } });
    expect(health).toMatchObject({ state: "ready", message: expect.stringMatching(/: 302$/) });
  });

  it("takes a port that accepts", async () => {
    const [health, live] = await judged({ tcp: { port: "http" } });
    const message = `tcp 127.0.0.1:${portOf(live)}: accepts`;
    expect(health).toEqual({ state: "ready", alive: true, message });
  });

  it("is not there when no answer comes in time", async () => {
    const probe = { http: { port: "http", path: "/silent" }, timeoutMs: 60 };
    const [health] = await judged(probe);
    expect(health).toMatchObject({
      state: "starting",
      alive: true,
      message: expect.stringMatching(/\/silent: no answer within 60 ms$/),
    });
  });

  it("is not believed when another process answers on the port of the copy", async () => {
    const mute = world.wanted({ with: { env: { MODE: "mute" } } });
    await world.carryOut(world.driver().steps([], undefined, mute, 0), mute);
    const [live] = await world.observe();
    const server = createServer((_, response) => response.end()).listen(
      portOf(live as Live),
      "127.0.0.1",
    );
    try {
      const health = await eventually("it answers", async () => {
        const found = await healthOf(live as Live, mute);
        return found.message.includes("ECONNREFUSED") ? undefined : found;
      });
      const message = `port ${portOf(live as Live)} is held by pid ${process.pid} (`;
      expect(health).toMatchObject({
        state: "starting",
        message: expect.stringContaining(message),
      });
    } finally {
      server.close();
    }
  });

  it("does not fail for good once it was ready, however old the copy is", async () => {
    const [, live] = await judged({ http: { port: "http", path: "/healthz" } });
    writeFileSync(join(world.context.directories(INSTANCE).data, "sick"), "");
    const strict = probing({
      http: { port: "http", path: "/healthz" },
      deadlineMs: 100,
      timeoutMs: 90,
    });
    await eventually("its answer comes in time", async () => {
      const health = await healthOf(live, strict);
      expect(health).toMatchObject({ state: "starting", alive: true });
      return /: 503$/.test(health.message) || undefined;
    });
  });

  it("is at once there for a program that declares no probe", async () => {
    const wanted = world.wanted({ with: { readiness: null } });
    await world.carryOut(world.driver().steps([], undefined, wanted, 0), wanted);
    const [live] = await world.observe();
    expect(await healthOf(live as Live, wanted)).toMatchObject({ state: "ready", alive: true });
  });

  it("is over with the copy", async () => {
    const live = await world.running(world.wanted());
    await world.carryOut(world.driver().steps([live], undefined, undefined, 0), world.wanted());
    expect(await healthOf(live, world.wanted())).toMatchObject({ state: "failed", alive: false });
  });
});

describe("liveness", () => {
  const wish = () =>
    world.wanted({
      with: {
        liveness: { http: { port: "http", path: "/healthz" }, intervalMs: 100, failures: 3 },
      },
    });
  const sick = () => join(world.context.directories(INSTANCE).data, "sick");

  it("is lost after as many failures in a row as the spec says, whoever counts them", async () => {
    const wanted = wish();
    const live = await world.running(wanted);
    writeFileSync(sick(), "");
    const seen: boolean[] = [];
    const lost = await eventually("it is given up", async () => {
      const { alive, message } = await healthOf(live, wanted);
      seen.push(alive);
      return alive ? undefined : message;
    });
    expect(lost).toMatch(/^failed its liveness probe 3 times in a row/);
    expect(seen.length).toBeGreaterThanOrEqual(3);
    expect((await world.observe())[0]).toMatchObject({ failing: true, phase: "running" });
  });

  it("forgets failures when it is answered again", async () => {
    const wanted = wish();
    const live = await world.running(wanted);
    writeFileSync(sick(), "");
    await eventually(
      "it is given up",
      async () => !(await healthOf(live, wanted)).alive || undefined,
    );
    rmSync(sick());
    const health = await eventually("it is alive again", async () => {
      const found = await healthOf(live, wanted);
      return found.alive ? found : undefined;
    });
    expect(health).toMatchObject({ state: "ready" });
    expect((await world.observe())[0]).not.toHaveProperty("failing");
  });

  it("lost means a new copy in its place, with the restart counted", async () => {
    const wanted = wish();
    const live = await world.running(wanted);
    const { pid } = await ask(live);
    writeFileSync(sick(), "");
    await eventually(
      "it is given up",
      async () => !(await healthOf(live, wanted)).alive || undefined,
    );
    rmSync(sick());
    await eventually("a new copy is ready", async () => {
      const found = await world.observe();
      await world.carryOut(world.driver().steps(found, wanted, wanted, Date.now()), wanted);
      const [next] = await world.observe();
      if (next?.restarts !== 1 || next.phase !== "running") return undefined;
      return (await healthOf(next, wanted)).state === "ready" ? next : undefined;
    });
    const [next] = await world.observe();
    expect((await ask(next as Live)).pid).not.toBe(pid);
    expect(await world.observe()).toHaveLength(1);
  });
});
