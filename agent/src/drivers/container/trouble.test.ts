/**
 * The container engine goes away in the middle of an attempt: stopped, killed, hung, at every kind of work. Each ends
 * committed, returned or PARTIAL with a reason; the agent lives, and what others run is not touched.
 */
import { systemClock } from "@holdfast/shared/clock.ts";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { CrashScenario, Version } from "../../reconcile/crash-points.test-suite.ts";
import { beginLife, CRASH_INSTANCE, type Life } from "../../reconcile/crash-world.test-world.ts";
import * as attempts from "../../store/attempts.ts";
import type { Driver, JsonObject } from "../driver.ts";
import { describeOnEngine, eventually, type World } from "./container.test-world.ts";
import type { DockerWorld } from "./docker.test-world.ts";

const NEIGHBOUR = { instanceId: `ins_${"b".repeat(32)}`, resourceId: "worker" };
/** Longer than any step of these takes, shorter than what a step may take. */
const AWAY_MS = 1_500;
let world: World;
let life: Life | undefined;

type Troubled = Readonly<{ at: string; trouble(): void }>;

/** Calls `trouble` once, when this work begins. */
function troubledDriver(inner: Driver, { at, trouble }: Troubled): Driver {
  let isOver = false;
  const meet = (place: string) => {
    if (isOver || place !== at) return;
    isOver = true;
    trouble();
  };
  return {
    ...inner,
    prepare: (wanted, context) => {
      meet("prepare");
      return inner.prepare(wanted, context);
    },
    run: (order, context) => {
      meet(order.verb);
      return inner.run(order, context);
    },
  };
}

function scenarioOf(image: string, troubled: Troubled): CrashScenario {
  const one = (version: Version) => [{ id: "web", spec: specOf(version) }];
  const driver = troubledDriver(world.driver(), troubled);
  return {
    driver: () => driver,
    context: world.context,
    artefacts: { worker: image },
    resources: { a: one("a"), b: one("b"), sick: one("sick") },
    end: world.end,
  };
}

function specOf(version: Version): JsonObject {
  return {
    image: { artefact: "worker" },
    env: { VERSION: version },
    ports: { http: { container: 8080 } },
    readiness: { http: { port: "http", path: "/cgi-bin/healthz" }, deadlineMs: 20_000 },
    stop: { graceMs: 3_000 },
    restart: { baseMs: 50, capMs: 400 },
  };
}

async function ended(number: bigint) {
  return await eventually(`attempt ${number} has ended`, () => {
    const record = life && attempts.find(life.store, CRASH_INSTANCE);
    return record?.phase === "ENDED" && record.generation.number === number ? record : undefined;
  });
}

async function serving(): Promise<readonly string[]> {
  const own = (await world.observe()).filter(({ key }) => key.instanceId === CRASH_INSTANCE);
  return own
    .filter(({ phase }) => phase === "running")
    .map(({ generation }) => `${generation.number}`);
}

describeOnEngine("an attempt", (its) => {
  beforeEach(() => {
    world = its.world();
  });
  afterEach(async () => {
    await life?.end();
    life = undefined;
  });

  const back: Promise<void>[] = [];
  const later = (work: () => Promise<void> | void) => {
    back.push(systemClock.sleep(AWAY_MS).then(work));
  };
  const troubles = {
    stopped: (engine: DockerWorld) => {
      const gone = engine.stop();
      later(() => gone.then(engine.start));
    },
    killed: (engine: DockerWorld) => {
      const gone = engine.kill();
      later(() => gone.then(engine.start));
    },
    paused: (engine: DockerWorld) => {
      engine.pause();
      later(engine.resume);
    },
  };

  it.each([
    { how: "stopped", at: "prepare" },
    { how: "stopped", at: "start" },
    { how: "killed", at: "start" },
    { how: "killed", at: "stop" },
    { how: "paused", at: "start" },
  ] as const)(
    "whose engine is $how at its $at ends in a state that says why",
    async ({ how, at }) => {
      const engine = its.engine();
      const neighbour = await world.running(world.wanted({ key: NEIGHBOUR }));
      const { Id } = await world.inspect(neighbour);
      let isArmed = false;
      const trouble = () => void (isArmed ? troubles[how](engine) : undefined);
      const plain = beginLife("container", scenarioOf(its.image(), { at: "", trouble }));
      life = plain;
      plain.wish(1n, "a");
      expect((await ended(1n)).state).toBe("COMMITTED");
      await plain.end();
      isArmed = true;
      life = beginLife("container", scenarioOf(its.image(), { at, trouble }));
      life.wish(2n, "b");
      const { state, message } = await ended(2n);
      await Promise.all(back.splice(0));
      expect({ state, isTold: state === "COMMITTED" || message !== "" }).toEqual({
        state: expect.stringMatching(/^(COMMITTED|RETURNED|PARTIAL)$/),
        isTold: true,
      });
      await eventually("one generation serves alone", async () => {
        const now = await serving();
        return (now.length === 1 && now[0] === (state === "COMMITTED" ? "2" : now[0])) || undefined;
      });
      // The agent lives: the next wish is brought about.
      life.wish(3n, "b");
      expect((await ended(3n)).state).toBe("COMMITTED");
      await eventually("the new one serves alone", async () => {
        const now = await world.observe();
        const own = now.filter(({ key }) => key.instanceId === CRASH_INSTANCE);
        return (own.length === 1 && own[0]?.phase === "running") || undefined;
      });
      expect((await world.inspect(neighbour)).Id).toBe(Id);
    },
  );
});
