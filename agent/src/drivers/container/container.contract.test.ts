/** The driver contract, kept by real containers of a real engine. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, it } from "vitest";
import { describeDriverContract } from "../contract.test-suite.ts";
import type { DriverScenario } from "../contract.test-world.ts";
import type { Live, StepOrder } from "../driver.ts";
import { containerName } from "../engine/marks.ts";
import { renderedSpecOf } from "../engine/spec.ts";
import { ensureVolumes } from "../engine/volumes.ts";
import { createWorld, INSTANCE } from "./container.test-world.ts";
import { type DockerWorld, startDocker, whyNoDocker } from "./docker.test-world.ts";
import { writeImage } from "./images.test-world.ts";

const BEFORE_START = "container made, never started";
const WITHOUT_FOLDER = "container started, its run directory lost";
const ENDED = "container started and killed";

const why = whyNoDocker();
const world: { engine?: DockerWorld; image: string } = { image: "" };

beforeAll(async () => {
  if (why !== undefined) return;
  world.engine = await startDocker();
  world.image = join(world.engine.dir, "image.tar");
  await writeImage(world.image);
  await world.engine.preload(world.image);
});
afterAll(() => world.engine?.end());

if (why === undefined) {
  describeDriverContract("container", [BEFORE_START, WITHOUT_FOLDER, ENDED], scenarioOf);
} else {
  describe("driver contract: container", () => {
    it(why, () => console.log(why));
  });
}

function scenarioOf(): DriverScenario {
  if (world.engine === undefined) throw new Error("no engine");
  const its = createWorld(world.engine, world.image);
  const volume = { volumes: { rows: { path: "/data" } }, limits: { pids: 100 } };
  const first = its.wanted({ with: volume });
  const second = its.wanted({
    digest: `sha256:${"2".repeat(64)}`,
    generation: { incarnation: 1n, number: 2n },
    releaseVersion: "1.1.0",
    with: volume,
  });
  const key = { instanceId: `ins_${"b".repeat(32)}`, resourceId: "worker" };
  const container = async (order: StepOrder) => {
    await its.driver().run(order, its.known(first));
    const name = containerName(its.stateDir, INSTANCE, String(order.input["handle"]));
    return its.host.dock.ask(name, its.context.signal, async (docker) => docker.getContainer(name));
  };
  const update = async ({ handle }: Live, change: object): Promise<void> => {
    const name = containerName(its.stateDir, INSTANCE, handle);
    await its.host.dock.ask(name, its.context.signal, (docker) =>
      docker.getContainer(name).update(change),
    );
  };
  return {
    ...{ first, second },
    neighbour: its.wanted({ key, with: volume }),
    driver: its.driver,
    context: its.context,
    end: its.end,
    meddle: async (live) => {
      await update(live, { PidsLimit: 77 });
      return "limits.pids";
    },
    touch: (live) => update(live, { CpuShares: 512 }),
    holdData: async (instanceId) => {
      const spec = renderedSpecOf(first.spec);
      await ensureVolumes(its.host, { instanceId, resourceId: "worker" }, spec, its.context);
      const found = await its.host.dock.ask("volume", its.context.signal, async (docker) => {
        const { Volumes } = await docker.listVolumes();
        return Volumes.find(({ Labels }) => Labels["io.holdfast.instance"] === instanceId);
      });
      writeFileSync(join(found?.Mountpoint ?? "", "rows"), "kept");
      return "rows";
    },
    crashes: [
      {
        name: BEFORE_START,
        leave: async (order) => {
          const made = await container(order);
          const { Config, HostConfig, Name } = await made.inspect();
          await made.remove({ force: true });
          await its.host.dock.ask("made", its.context.signal, (docker) =>
            docker.createContainer({ ...Config, HostConfig, name: Name.slice(1) } as never),
          );
        },
      },
      {
        name: WITHOUT_FOLDER,
        leave: async (order) => {
          await container(order);
          rmSync(its.context.directories(INSTANCE).run, { recursive: true });
        },
      },
      { name: ENDED, leave: async (order) => (await container(order)).kill() },
    ],
  };
}
