/**
 * Podman's engine, whose API is Docker's and whose refusals are its own. Debian's cannot start a container in every place,
 * as not where limits of processes may not be raised; then the start is refused with its words and leaves nothing.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Fault } from "@holdfast/shared/fault.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { dialHere } from "../ask.ts";
import { createWorld, eventually, INSTANCE, type World } from "./container.test-world.ts";
import { Dock } from "./dock.ts";
import { whyNoDocker } from "./docker.test-world.ts";
import { isGone, isTaken } from "./faults.ts";
import { writeImage } from "./images.test-world.ts";
import { containerName } from "./marks.ts";

const CONFIG = `
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
default_ulimits = ["nofile=1024:1024"]
log_driver = "k8s-file"
`;

const why = whyNoDocker("podman");
if (why === undefined) describe("podman", describePodman);
else describe("podman", () => void it(why, () => console.log(why)));

function describePodman(): void {
  const dir = mkdtempSync(join(tmpdir(), "podman-"));
  const socket = join(dir, "podman.sock");
  const image = join(dir, "image.tar");
  const dock = new Dock(socket);
  let service: ChildProcess;
  let world: World;

  beforeAll(async () => {
    writeFileSync(join(dir, "containers.conf"), CONFIG);
    const places = ["--root", "root", "--runroot", "run", "--tmpdir", "tmp"];
    const args = places.map((each) => (each.startsWith("-") ? each : join(dir, each)));
    service = spawn(
      "unshare",
      ["--net", "--", "podman", ...args, "system", "service", "--time=0", `unix://${socket}`],
      { stdio: "ignore", env: { ...process.env, CONTAINERS_CONF: join(dir, "containers.conf") } },
    );
    await eventually("podman's socket", () => existsSync(socket) || undefined);
    await writeImage(image);
    world = createWorld({ socket, dock, dial: dialHere }, image);
  });
  afterAll(async () => {
    await world.end();
    const ended = new Promise((resolve) => service.once("exit", resolve));
    service.kill();
    await ended;
    spawnSync("umount", ["-l", join(dir, "root/overlay")]);
    rmSync(dir, { recursive: true, force: true });
  });

  it("is asked, finds nothing, and takes an image", async () => {
    expect(await world.driver().missing()).toBeUndefined();
    expect(await world.observe()).toEqual([]);
    await world.driver().prepare(world.wanted(), world.context);
  });

  it("starts a container, or refuses it and leaves nothing", async () => {
    const wanted = world.wanted({ with: { volumes: { rows: { path: "/data" } } } });
    const [step] = world.driver().steps([], undefined, wanted, 0);
    if (step?.undo === undefined) throw new Error("no step");
    const said = await world
      .driver()
      .run(step, world.known(wanted))
      .catch((error: unknown) => error);
    if (said instanceof Fault) {
      expect(said.message).toContain("the engine refused (500): ");
      expect(await world.observe()).toEqual([]);
    } else expect(await world.observe()).toHaveLength(1);
    for (const _ of ["once", "again"]) await world.driver().run(step.undo, world.known(wanted));
    expect(await world.observe()).toEqual([]);
    for (const _ of ["once", "again"]) await world.driver().destroy(INSTANCE, world.context);
    await world.driver().drop(INSTANCE, world.context);
  });

  it("says in its own words what is gone and what is taken", async () => {
    const { signal } = world.context;
    const refusalOf = async (question: Promise<unknown>): Promise<unknown> =>
      await question.then(() => undefined).catch((error: unknown) => error);
    const gone = [
      () => dock.ask("container", signal, (docker) => docker.getContainer("nobody").inspect()),
      () => dock.ask("network", signal, (docker) => docker.getNetwork("nobody").inspect()),
      () => dock.ask("volume", signal, (docker) => docker.getVolume("nobody").inspect()),
      () => dock.ask("image", signal, (docker) => docker.getImage("nobody").inspect()),
    ];
    for (const question of gone) expect(isGone(await refusalOf(question()))).toBe(true);
    await world.driver().prepare(world.wanted(), world.context);
    const name = containerName(world.stateDir, INSTANCE, "worker-1.1-111111111111-0c0");
    const make = () =>
      dock.ask("made", signal, async (docker) => {
        const [found] = await docker.listImages();
        return await docker.createContainer({ name, Image: found?.Id ?? "" });
      });
    const made = await make();
    expect(isTaken(await refusalOf(make()))).toBe(true);
    await made.remove({ force: true });
  });
}
