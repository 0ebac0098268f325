/**
 * No room in the middle of an attempt: on the engine's disk, in the memory for secrets, on the agent's own disk. What
 * served serves on in the same container, nothing is left over, others are not touched, and with room again it goes on.
 */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the syntax of expressions
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "@holdfast/shared/clock.ts";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { CrashScenario } from "../../reconcile/crash-points.test-suite.ts";
import { beginLife, CRASH_INSTANCE, type Life } from "../../reconcile/crash-world.test-world.ts";
import * as attempts from "../../store/attempts.ts";
import type { Driver, JsonObject, Live } from "../driver.ts";
import { findCopies } from "../engine/copies.ts";
import { describeOnEngine, eventually, type World } from "./container.test-world.ts";
import { fillDisk, mountDisk, unmount } from "./docker.test-world.ts";
import { writeImage } from "./images.test-world.ts";

const NEIGHBOUR = { instanceId: `ins_${"b".repeat(32)}`, resourceId: "worker" };
const DISK_MIB = 24;
const STATE_MIB = 8;
const MEMORY_MIB = 1;
/** Longer than a few passes of the engine that find no room. */
const FULL_MS = 500;

let world: World;
let life: Life;
let mounted: string[];
let atStart: (() => void) | undefined;

function specOf(artefact: string, version: string): JsonObject {
  return {
    image: { artefact },
    env: { VERSION: version },
    secretFiles: { dsn: "${secrets.dsn}" },
    ports: { http: { container: 8080 } },
    readiness: { http: { port: "http", path: "/cgi-bin/healthz" }, deadlineMs: 20_000 },
    stop: { graceMs: 3_000 },
  };
}

function scenario(images: Readonly<{ worker: string; newer: string }>): CrashScenario {
  const inner = world.driver();
  const driver: Driver = {
    ...inner,
    run: (order, context) => {
      if (order.verb === "start") atStart?.();
      return inner.run(order, context);
    },
  };
  return {
    driver: () => driver,
    context: world.context,
    artefacts: images,
    secrets: { dsn: "postgres://hunter2" },
    resources: {
      a: [{ id: "web", spec: specOf("worker", "a") }],
      b: [{ id: "web", spec: specOf("newer", "b") }],
    },
    end: world.end,
  };
}

async function ended(number: bigint) {
  return await eventually(`attempt ${number} has ended`, () => {
    const record = attempts.find(life.store, CRASH_INSTANCE);
    return record?.phase === "ENDED" && record.generation.number === number ? record : undefined;
  });
}

const own = async (): Promise<readonly Live[]> =>
  (await world.observe()).filter(({ key }) => key.instanceId === CRASH_INSTANCE);

describeOnEngine(
  "an attempt without room",
  (its) => {
    let before: readonly string[];
    const identities = async () => {
      const copies = await findCopies(world.host, world.context);
      return copies.filter(({ state }) => state === "running").map(({ id }) => id);
    };

    beforeEach(async () => {
      mounted = [];
      atStart = undefined;
      world = its.world();
      for (const [dir, mib] of [
        [world.stateDir, STATE_MIB],
        [world.host.memoryDir, MEMORY_MIB],
      ] as const) {
        mountDisk(dir, mib);
        mounted.push(dir);
      }
      await world.running(world.wanted({ key: NEIGHBOUR }));
      const newer = join(its.engine().dir, "newer.tar");
      if (!existsSync(newer)) await writeImage(newer, { label: "2" });
      life = beginLife("container", scenario({ worker: its.image(), newer }));
      life.wish(1n, "a");
      expect((await ended(1n)).state).toBe("COMMITTED");
      before = await identities();
      expect(before).toHaveLength(2);
    });
    afterEach(async () => {
      await life.end();
      for (const dir of mounted) unmount(dir);
    });

    it.each([
      {
        where: "on the engine's disk",
        disk: () => join(its.engine().dir, "data"),
        step: "prepare",
      },
      { where: "in the memory for secrets", disk: () => world.host.memoryDir, step: "start" },
    ])("$where returns with DISK_FULL", async ({ disk, step }) => {
      const free = fillDisk(disk());
      life.wish(2n, "b");
      const { state, reason, message } = await ended(2n);
      expect({ state, reason }).toEqual({ state: "RETURNED", reason: "DISK_FULL" });
      expect(message).toContain(step);
      expect(await own()).toHaveLength(1);
      expect(await identities()).toEqual(before);
      free();
      life.wish(3n, "b");
      expect((await ended(3n)).state).toBe("COMMITTED");
      await eventually("the new one serves alone", async () => {
        const now = await own();
        return (now.length === 1 && now[0]?.generation.number === 3n) || undefined;
      });
    });

    it("on the agent's own disk goes on once there is some", async () => {
      let free = () => {};
      atStart = () => {
        free = fillDisk(world.stateDir);
        atStart = undefined;
      };
      life.wish(2n, "b");
      await eventually("it starts", () => atStart === undefined || undefined);
      await systemClock.sleep(FULL_MS);
      const now = await identities();
      for (const id of before) expect(now).toContain(id);
      free();
      const { state, message } = await ended(2n);
      expect({ state, isTold: state === "COMMITTED" || message !== "" }).toEqual({
        state: expect.stringMatching(/^(COMMITTED|RETURNED)$/),
        isTold: true,
      });
      await eventually("one serves alone", async () => (await own()).length === 1 || undefined);
      expect(attempts.listJournal(life.store, CRASH_INSTANCE)).toEqual([]);
      expect(readdirSync(world.stateDir)).toContain("agent.db");
    });
  },
  { diskMib: DISK_MIB },
);
