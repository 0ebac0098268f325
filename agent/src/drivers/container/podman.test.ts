/**
 * Podman's engine, whose API is Docker's and whose refusals are its own. Debian's cannot start a container in every place,
 * as not where limits of processes may not be raised; then the start is refused with its words and leaves nothing. Nor
 * does its service come up everywhere; then the suite is what it said (CONTRIBUTING.md names this suite).
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@holdfast/shared/clock.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { dialHere } from "../ask.ts";
import { Dock } from "../engine/dock.ts";
import { isGone, isTaken } from "../engine/faults.ts";
import { containerName } from "../engine/marks.ts";
import { createWorld, INSTANCE, type World } from "./container.test-world.ts";
import { whyNoDocker } from "./docker.test-world.ts";
import { writeImage } from "./images.test-world.ts";

const CONFIG = `
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
default_ulimits = ["nofile=1024:1024"]
log_driver = "k8s-file"
`;

/** A service that comes up does so within a second. */
const START_MS_MAX = 30_000;
const LOOK_MS = 50;

type Podman = Readonly<{ dir: string; socket: string; end(): Promise<void> }>;

const podman = whyNoDocker("podman") ?? (await startPodman());
if (typeof podman === "string")
  describe("podman", () => void it(podman, () => console.log(podman)));
else describe("podman", () => describePodman(podman));

/** The service in a network of its own; a string says why there is none. */
async function startPodman(): Promise<Podman | string> {
  const dir = mkdtempSync(join(tmpdir(), "podman-"));
  const socket = join(dir, "podman.sock");
  const log = join(dir, "podman.log");
  writeFileSync(join(dir, "containers.conf"), CONFIG);
  const places = ["--root", "root", "--runroot", "run", "--tmpdir", "tmp"];
  const args = places.map((each) => (each.startsWith("-") ? each : join(dir, each)));
  const service = spawn(
    "unshare",
    ["--net", "--", "podman", ...args, "system", "service", "--time=0", `unix://${socket}`],
    {
      stdio: ["ignore", openSync(log, "a"), openSync(log, "a")],
      env: { ...process.env, CONTAINERS_CONF: join(dir, "containers.conf") },
    },
  );
  const end = async () => {
    await ended(service);
    spawnSync("umount", ["-l", join(dir, "root/overlay")]);
    rmSync(dir, { recursive: true, force: true });
  };
  if (await isServing(service, socket)) return { dir, socket, end };
  const why = `podman's service did not come up here: ${readFileSync(log, "utf8").slice(-2_000)}`;
  await end();
  return why;
}

async function isServing(service: ChildProcess, socket: string): Promise<boolean> {
  const deadline = performance.now() + START_MS_MAX;
  while (performance.now() < deadline && service.exitCode === null) {
    if (existsSync(socket)) return true;
    await systemClock.sleep(LOOK_MS);
  }
  return false;
}

async function ended(service: ChildProcess): Promise<void> {
  if (service.exitCode !== null) return;
  const exited = new Promise((resolve) => service.once("exit", resolve));
  service.kill("SIGKILL");
  await exited;
}

function describePodman({ dir, socket, end }: Podman): void {
  const image = join(dir, "image.tar");
  const dock = new Dock(socket);
  let world: World;

  beforeAll(async () => {
    await writeImage(image);
    world = createWorld({ socket, dock, dial: dialHere }, image);
  });
  afterAll(async () => {
    await world.end();
    await end();
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
