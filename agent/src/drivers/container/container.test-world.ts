/** A state directory with a release of one image, over a real engine, for tests of the container driver. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@holdfast/shared/clock.ts";
import type { Fault } from "@holdfast/shared/fault.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { afterAll, afterEach, beforeAll, beforeEach, describe, it } from "vitest";
import type {
  Driver,
  DriverContext,
  JsonObject,
  Live,
  Step,
  StepContext,
  StepOutcome,
  Wanted,
} from "../driver.ts";
import { findCopies } from "../engine/copies.ts";
import { removeCopy } from "../engine/end.ts";
import { type ContainerHost, containerHost } from "../engine/host.ts";
import { handlesSignal, uptimeMs } from "../host-process/proc.ts";
import { type DockerWorld, startDocker, whyNoDocker } from "./docker.test-world.ts";
import { type ImageChange, writeImage } from "./images.test-world.ts";
import { containerDriver } from "./index.ts";

export const INSTANCE = `ins_${"a".repeat(32)}`;
const DEADLINE_MS = 60_000;

const quiet: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet };

export type World = Readonly<{
  stateDir: string;
  /** A folder that releases may mount. */
  mountable: string;
  host: ContainerHost;
  context: DriverContext;
  /** A fresh one each time: nothing is remembered. */
  driver(): Driver;
  wanted(given?: Partial<Wanted> & Readonly<{ with?: JsonObject }>): Wanted;
  known(...renderings: readonly Wanted[]): StepContext;
  carryOut(
    steps: readonly Step[],
    ...renderings: readonly Wanted[]
  ): Promise<readonly StepOutcome[]>;
  /** What is there, started from the wish if need be, once it is ready. */
  running(wanted: Wanted): Promise<Live>;
  observe(): Promise<readonly Live[]>;
  /** What the engine says of a copy. */
  inspect(live: Live): ReturnType<typeof inspectOf>;
  get(live: Live, path: string): Promise<string>;
  end(): Promise<void>;
}>;

export function createWorld(
  engine: Pick<DockerWorld, "socket" | "dial" | "dock">,
  image: string,
  change: Partial<ContainerHost> = {},
): World {
  const stateDir = mkdtempSync(join(tmpdir(), "containers-"));
  const mountable = join(stateDir, "..", `${stateDir.slice(-6)}-mountable`);
  mkdirSync(mountable);
  const memoryDir = mkdtempSync("/dev/shm/hft-");
  const ground = {
    dial: engine.dial,
    uptimeMs: () => uptimeMs("/proc"),
    handlesSignal: (pid: number, signal: number) => handlesSignal("/proc", pid, signal),
    endProcess: (pid: number) => void process.kill(pid, "SIGKILL"),
    portProblem: async () => undefined,
    ephemeralPortMin: () => 32_768,
    ...{ memoryDir, uid: process.getuid?.() ?? 0 },
  };
  const config = {
    containerMounts: [mountable],
    containerRegistries: [],
    containerImageMibMax: 100,
  };
  const host = { ...containerHost(ground, engine.socket, config), ...change };
  const stop = new AbortController();
  const context = contextOf(stateDir, stop.signal);
  const driver = () => containerDriver(host);
  const known = (...renderings: readonly Wanted[]): StepContext => ({
    ...context,
    wanted: async (digest) => {
      const found = renderings.find((each) => each.digest === digest);
      if (found === undefined) throw new Error(`no rendering ${digest}`);
      return found;
    },
  });
  const carryOut: World["carryOut"] = async (steps, ...renderings) => {
    const outcomes: StepOutcome[] = [];
    for (const step of steps) {
      await systemClock.sleep(Math.max(0, (step.notBefore ?? 0) - systemClock.now()));
      outcomes.push(await driver().run(step, known(...renderings)));
    }
    return outcomes;
  };
  const observe = () => driver().observe(context);
  const running: World["running"] = async (wanted) => {
    const steps = driver().steps(await observe(), undefined, wanted, systemClock.now());
    await carryOut(steps, wanted);
    return await eventually(`${wanted.digest} is ready`, async () => {
      const live = (await observe()).find(({ digest }) => digest === wanted.digest);
      if (live === undefined) return undefined;
      const health = await driver().health(live, wanted, context);
      if (health.state === "failed") throw new Error(health.message);
      return health.state === "ready" ? live : undefined;
    });
  };
  return {
    ...{ stateDir, mountable, host, context, driver, known, carryOut, running, observe },
    wanted: (given = {}) => wantedOf(image, given),
    inspect: (live) => inspectOf(host, live, context),
    get: (live, path) => getFrom(engine, portOf(live), path),
    end: async () => {
      for (const copy of await findCopies(host, context)) await removeCopy(host, copy, context);
      await forgetRest(engine, context);
      stop.abort();
      for (const path of [stateDir, memoryDir, mountable])
        rmSync(path, { recursive: true, force: true });
    },
  };
}

/** Networks, volumes and images of this state directory. */
async function forgetRest(
  { dock }: Pick<DockerWorld, "dock">,
  { stateDir, signal }: DriverContext,
): Promise<void> {
  await dock.ask("clean-up", signal, async (docker) => {
    const filters = { label: [`io.holdfast.state=${stateDir}`] };
    for (const { Id } of await docker.listNetworks({ filters: JSON.stringify(filters) })) {
      await docker.getNetwork(Id).remove();
    }
    const { Volumes } = await docker.listVolumes({ filters: JSON.stringify(filters) });
    for (const { Name } of Volumes ?? []) await docker.getVolume(Name).remove();
  });
}

async function inspectOf({ dock }: ContainerHost, live: Live, context: DriverContext) {
  const found = (await findCopies({ dock, kind: "container" }, context)).find(
    ({ handle }) => handle === live.handle,
  );
  return await dock.ask("inspect", context.signal, (docker) =>
    docker.getContainer(found?.id ?? "").inspect(),
  );
}

/** By a port that the host gives out. */
export async function getFrom(
  { dial }: Pick<DockerWorld, "dial">,
  port: number,
  path: string,
): Promise<string> {
  const socket = await dial({ host: "127.0.0.1", port }, new AbortController().signal);
  socket.write(`GET ${path} HTTP/1.0\r\n\r\n`);
  const parts: Buffer[] = [];
  for await (const part of socket) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}

export function portOf(live: Live): number {
  return Number((live.outputs["ports"] as JsonObject)["http"]);
}

function contextOf(stateDir: string, signal: AbortSignal): DriverContext {
  return {
    ...{ log: quiet, clock: systemClock, signal, stateDir },
    random: Math.random,
    directories: (instanceId) => {
      const root = join(stateDir, "instances", instanceId.slice(4));
      const directories = {
        run: join(root, "run"),
        data: join(root, "data"),
        logs: join(root, "logs"),
        seatsFile: join(root, "seats.json"),
      };
      for (const path of [directories.run, directories.data, directories.logs]) {
        mkdirSync(path, { recursive: true });
      }
      return directories;
    },
  };
}

function wantedOf(image: string, given: Partial<Wanted> & Readonly<{ with?: JsonObject }>): Wanted {
  const { with: more, ...fields } = given;
  return {
    key: { instanceId: INSTANCE, resourceId: "worker" },
    kind: "container",
    generation: { incarnation: 1n, number: 1n },
    releaseVersion: "1.0.0",
    digest: `sha256:${"1".repeat(64)}`,
    spec: {
      image: { artefact: "worker" },
      ports: { http: { container: 8080 } },
      readiness: { http: { port: "http", path: "/cgi-bin/healthz" }, deadlineMs: 20_000 },
      stop: { graceMs: 3_000 },
      restart: { baseMs: 50, capMs: 400 },
      ...more,
    },
    secrets: new Map(),
    artefacts: new Map([["worker", image]]),
    ...fields,
  };
}

/** What the look gives once it gives anything; fails after DEADLINE_MS. */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | undefined> | T | undefined,
): Promise<T> {
  const deadline = performance.now() + DEADLINE_MS;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > deadline) throw new Error(`not within ${DEADLINE_MS} ms: ${what}`);
    await systemClock.sleep(20);
  }
}

export type OnEngine = Readonly<{
  engine(): DockerWorld;
  /** An archive of the program, which the engine has already. */
  image(): string;
  /** Of this test. */
  world(change?: Partial<ContainerHost>): World;
}>;

/** Tests over one engine of their own, or one line that says why there is none. */
export function describeOnEngine(
  name: string,
  tests: (its: OnEngine) => void,
  {
    image = {},
    programs = [],
    diskMib,
  }: Readonly<{ image?: ImageChange; programs?: readonly string[]; diskMib?: number }> = {},
): void {
  const why = whyNoDocker(...programs);
  if (why !== undefined) {
    describe(name, () => void it(why, () => console.log(why)));
    return;
  }
  describe(name, () => {
    let engine: DockerWorld | undefined;
    let world: World | undefined;
    const its: OnEngine = {
      engine: () => {
        if (engine === undefined) throw new Error("no engine");
        return engine;
      },
      image: () => join(its.engine().dir, "image.tar"),
      world: (host) => (world ??= createWorld(its.engine(), its.image(), host)),
    };
    beforeAll(async () => {
      engine = await startDocker(diskMib === undefined ? {} : { diskMib });
      await writeImage(its.image(), image);
      await engine.preload(its.image());
    });
    afterAll(() => engine?.end());
    beforeEach(() => {
      world = undefined;
    });
    afterEach(() => world?.end());
    tests(its);
  });
}

/** Why a start would be refused. */
export async function refusal(world: World, wanted: Wanted): Promise<Fault> {
  const found = await world
    .driver()
    .prepare(wanted, world.context)
    .then(
      () => new Error("it is not refused"),
      (error: unknown) => error,
    );
  return found as Fault;
}
