/** Changes of release as users of the workload see them: a prober follows the published outputs throughout. */
import { randomInt } from "node:crypto";
import { createServer } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { JsonObject, Live, Step, Wanted } from "../driver.ts";
import { ask, createWorld, eventually, portOf, type World } from "./process.test-world.ts";

let world: World;
beforeEach(() => {
  world = createWorld();
});
afterEach(() => world.end());

const second = (more: JsonObject = {}) =>
  world.wanted({
    digest: `sha256:${"2".repeat(64)}`,
    generation: { incarnation: 1n, number: 2n },
    releaseVersion: "1.1.0",
    with: { stop: { graceMs: 3_000, drainMs: 150 }, ...more },
  });

type Counts = { asked: number; failed: number; releases: Set<string> };

/** Asks whoever is published, without a pause, until it is stopped. */
function startProber(published: () => number) {
  const counts: Counts = { asked: 0, failed: 0, releases: new Set() };
  const stop = new AbortController();
  const run = async () => {
    while (!stop.signal.aborted) {
      counts.asked += 1;
      try {
        const answer = await fetch(`http://127.0.0.1:${published()}/`, {
          headers: { connection: "close" },
        });
        counts.releases.add(((await answer.json()) as { release: string }).release);
      } catch {
        counts.failed += 1;
      }
    }
  };
  const done = Promise.all([run(), run()]);
  return {
    counts,
    end: async () => {
      stop.abort();
      await done;
    },
  };
}

const asked = (counts: Counts, number: number) =>
  eventually(`${number} requests`, () => counts.asked >= number || undefined);
const before = (steps: readonly Step[]) => steps.filter(({ when }) => when === "before-commit");
const after = (steps: readonly Step[]) => steps.filter(({ when }) => when === "after-commit");

async function readyCopy(wanted: Wanted): Promise<Live> {
  return await eventually("the new copy is ready", async () => {
    const live = (await world.observe()).find(({ digest }) => digest === wanted.digest);
    const health = live && (await world.driver().health(live, wanted, world.context));
    return health?.state === "ready" ? live : undefined;
  });
}

describe("an upgrade with free ports", () => {
  it("fails no request", async () => {
    const [old, next] = [world.wanted(), second()];
    let published = portOf(await world.running(old));
    const prober = startProber(() => published);
    await asked(prober.counts, 10);
    const steps = world.driver().steps(await world.observe(), old, next, world.context.clock.now());
    await world.carryOut(before(steps), old, next);
    published = portOf(await readyCopy(next));
    await world.carryOut(after(steps), old, next);
    await asked(prober.counts, prober.counts.asked + 10);
    await prober.end();
    expect(prober.counts.failed).toBe(0);
    expect([...prober.counts.releases].sort()).toEqual(["1.0.0", "1.1.0"]);
    expect((await world.observe()).map(({ digest }) => digest)).toEqual([next.digest]);
  });

  it("that never becomes ready leaves the old one serving, and no request fails", async () => {
    const probe = { http: { port: "http", path: "/healthz" }, deadlineMs: 400, timeoutMs: 300 };
    const [old, next] = [
      world.wanted(),
      second({ env: { MODE: "never-ready" }, readiness: probe }),
    ];
    const published = portOf(await world.running(old));
    const prober = startProber(() => published);
    const steps = world.driver().steps(await world.observe(), old, next, world.context.clock.now());
    await world.carryOut(before(steps), old, next);
    const health = await eventually("the new one is given up", async () => {
      const live = (await world.observe()).find(({ digest }) => digest === next.digest) as Live;
      const { state, message } = await world.driver().health(live, next, world.context);
      return state === "failed" ? message : undefined;
    });
    expect(health).toMatch(/^not ready within 400 ms: GET http:\/\/127\.0\.0\.1:\d+\/healthz: /);
    for (const { undo } of before(steps).toReversed()) {
      if (undo) await world.driver().run(undo, world.known(old, next));
    }
    await prober.end();
    expect(prober.counts).toMatchObject({ failed: 0, releases: new Set(["1.0.0"]) });
    expect((await world.observe()).map(({ digest }) => digest)).toEqual([old.digest]);
  });

  it("that exits at once is told with its status and its last lines", async () => {
    const [old, next] = [world.wanted(), second({ env: { MODE: "crash" } })];
    await world.running(old);
    const steps = world.driver().steps(await world.observe(), old, next, world.context.clock.now());
    await world.carryOut(before(steps), old, next);
    await eventually("the driver tells of the exit", () => world.changed.length > 0);
    const live = await eventually("it has exited", async () =>
      (await world.observe()).find(({ phase }) => phase === "exited"),
    );
    expect(live.message).toBe("exited with status 3: hello from 1.1.0 | cannot go on");
    expect(await world.driver().health(live, next, world.context)).toEqual({
      state: "failed",
      alive: false,
      message: "exited with status 3: hello from 1.1.0 | cannot go on",
    });
    expect(world.changed).toHaveLength(1);
  });
});

describe("an upgrade with a fixed port", () => {
  it("stops the old one, then starts the new one on the same port", async () => {
    const port = await freePort();
    const ports = { http: { fixed: port } };
    const [old, next] = [world.wanted({ with: { ports } }), second({ ports })];
    const live = await world.running(old);
    expect(portOf(live)).toBe(port);
    await world.driver().prepare(next, world.context);
    const steps = world.driver().steps([live], old, next, world.context.clock.now());
    expect(steps.map(({ verb, when }) => `${verb} ${when}`)).toEqual([
      "stop before-commit",
      "start before-commit",
    ]);
    await world.carryOut(steps, old, next);
    const now = await readyCopy(next);
    expect({ port: portOf(now), release: (await ask(now)).release }).toEqual({
      port,
      release: "1.1.0",
    });
  });

  it("that fails starts the old one again", async () => {
    const ports = { http: { fixed: await freePort() } };
    const [old, next] = [
      world.wanted({ with: { ports } }),
      second({ ports, env: { MODE: "crash" } }),
    ];
    const live = await world.running(old);
    const steps = world.driver().steps([live], old, next, world.context.clock.now());
    await world.carryOut(steps, old, next);
    for (const { undo } of steps.toReversed()) {
      if (undo) await world.driver().run(undo, world.known(old, next));
    }
    const now = await readyCopy(old);
    expect((await ask(now)).release).toBe("1.0.0");
    expect(await world.observe()).toHaveLength(1);
  });

  it("is refused before anything is changed while somebody else has the port, who is named", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    try {
      await new Promise((resolve) => server.once("listening", resolve));
      const { port } = server.address() as { port: number };
      const next = second({ ports: { http: { fixed: port } } });
      await world.running(world.wanted());
      const [start] = world.driver().steps([], undefined, next, 0);
      const holder = `ports.http: port ${port} on 127.0.0.1 is held by pid ${process.pid} (node`;
      const refusal = { code: "FAILED_PRECONDITION", reason: "PORT_IN_USE" };
      for (const attempt of [
        () => world.driver().prepare(next, world.context),
        () => world.driver().run(start as Step, world.known(next)),
      ]) {
        const message = expect.stringContaining(holder);
        await expect(attempt()).rejects.toMatchObject({ ...refusal, message });
      }
    } finally {
      server.close();
    }
  });

  it("is refused while another instance of this agent has the port, which is named", async () => {
    const port = await freePort();
    const fixed = { with: { ports: { http: { fixed: port } } } };
    const neighbour = { instanceId: `ins_${"c".repeat(32)}`, resourceId: "front" };
    await world.running(world.wanted({ ...fixed, key: neighbour }));
    const who = new RegExp(
      `is held by pid \\d+ \\(.+\\), which is front of ${neighbour.instanceId} on this agent$`,
    );
    await expect(world.driver().prepare(world.wanted(fixed), world.context)).rejects.toMatchObject({
      reason: "PORT_IN_USE",
      message: expect.stringMatching(who),
    });
  });
});

/** Outside of the range from which the kernel gives ports to others. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(20_000, 32_000);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false));
      server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
    });
    if (isFree) return port;
  }
}
