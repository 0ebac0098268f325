/**
 * What somebody does by hand to a container that runs, on a real engine: found, told of by the engine's events, and
 * brought back in the same container.
 */
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Live, Wanted } from "../driver.ts";
import { containerName, instanceName } from "../engine/marks.ts";
import { createWorld, eventually, INSTANCE, type World } from "./container.test-world.ts";
import { type DockerWorld, startDocker, whyNoDocker } from "./docker.test-world.ts";
import { writeImage } from "./images.test-world.ts";

const why = whyNoDocker();
let engine: DockerWorld | undefined;
let image = "";
let world: World;

beforeAll(async () => {
  if (why !== undefined) return;
  engine = await startDocker();
  image = join(engine.dir, "image.tar");
  await writeImage(image);
  await engine.preload(image);
});
afterAll(() => engine?.end());

describe("drift of a container", () => {
  if (why === undefined) facts();
  else it(why, () => console.log(why));
});

function facts(): void {
  let wanted: Wanted;
  let live: Live;
  beforeEach(async () => {
    if (engine === undefined) throw new Error("no engine");
    world = createWorld(engine, image);
    wanted = world.wanted({ with: { limits: { memoryMib: 64, cpuMillis: 500, pids: 100 } } });
    live = await world.running(wanted);
  });
  afterEach(() => world.end());

  const ask = <Answer>(
    what: (docker: Parameters<Parameters<World["host"]["dock"]["ask"]>[2]>[0]) => Promise<Answer>,
  ) => world.host.dock.ask("by hand", world.context.signal, what);
  const name = () => containerName(world.stateDir, INSTANCE, live.handle);
  const seen = async (): Promise<Live> => {
    const [found, ...more] = await world.observe();
    expect(more).toEqual([]);
    if (found === undefined) throw new Error("it is gone");
    return found;
  };
  const drift = async () => world.driver().drift(await seen(), wanted);

  it("names limits, the network and a pause by their fields, and brings all of it back", async () => {
    const { Id } = await world.inspect(live);
    const MEMORY = 128 * 1_048_576;
    await ask((docker) =>
      docker.getContainer(name()).update({ Memory: MEMORY, MemorySwap: MEMORY, PidsLimit: -1 }),
    );
    const network = instanceName(world.stateDir, INSTANCE);
    await ask((docker) => docker.getNetwork(network).disconnect({ Container: name() }));
    await ask((docker) => docker.getContainer(name()).pause());
    expect(await drift()).toEqual([
      { path: "limits.memoryMib", applied: 64, live: 128 },
      { path: "limits.pids", applied: 100, live: "none" },
      { path: "network", applied: "joined", live: "left" },
      { path: "paused", applied: false, live: true },
    ]);
    await world.carryOut(world.driver().revert(await seen(), wanted), wanted);
    expect(await drift()).toEqual([]);
    expect((await world.inspect(live)).Id).toBe(Id);
  });

  it("is rung by the engine's events, and ends with the agent", async () => {
    const stop = new AbortController();
    let rings = 0;
    const watching = world.driver().watch?.({ ...world.context, signal: stop.signal }, () => {
      rings += 1;
    });
    // The engine tells of nothing before it has taken the question.
    await eventually("a ring", async () => {
      await ask((docker) => docker.getContainer(name()).update({ PidsLimit: 77 }));
      return rings > 0 || undefined;
    });
    stop.abort();
    await watching;
  });
}
