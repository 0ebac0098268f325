/** Images that are missing, damaged, foreign, too large, or behind a registry's door: told before anything changes. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the syntax of expressions
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "@holdfast/shared/clock.ts";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import type { JsonObject } from "../driver.ts";
import {
  describeOnEngine,
  eventually,
  INSTANCE,
  refusal,
  type World,
} from "./container.test-world.ts";
import type { DockerWorld } from "./docker.test-world.ts";
import { type ImageChange, writeImage } from "./images.test-world.ts";

const REGISTRY = "127.0.0.1:5000";
/** What the engine has before each test, and after it. */
const PRELOADED = [expect.stringMatching(/^preloaded:/)];
let world: World;

type Registry = Readonly<{ end(): void; reference: string }>;

/** Debian's registry, in the engine's network, with one account and one image. */
async function startRegistry(engine: DockerWorld): Promise<Registry> {
  const dir = join(engine.dir, "registry");
  mkdirSync(dir);
  const made = spawnSync("htpasswd", ["-nbB", "etl", "hunter2"], { encoding: "utf8" });
  writeFileSync(join(dir, "htpasswd"), made.stdout);
  const config = {
    version: "0.1",
    storage: { filesystem: { rootdirectory: join(dir, "data") } },
    http: { addr: REGISTRY },
    auth: { htpasswd: { realm: "etl", path: join(dir, "htpasswd") } },
  };
  writeFileSync(join(dir, "config.yml"), JSON.stringify(config));
  const child = spawn(
    "nsenter",
    [engine.netns, "docker-registry", "serve", join(dir, "config.yml")],
    {
      stdio: "ignore",
    },
  );
  const { signal } = new AbortController();
  const authconfig = { username: "etl", password: "hunter2", serveraddress: REGISTRY };
  const archive = join(engine.dir, "pushed.tar");
  await writeImage(archive, { tags: [`${REGISTRY}/etl/worker:1`], label: "pushed" });
  const digest = await engine.dock.ask("push", signal, async (docker) => {
    const followed = (stream: NodeJS.ReadableStream) =>
      new Promise<readonly JsonObject[]>((resolve, reject) =>
        docker.modem.followProgress(stream, (error, said) =>
          error ? reject(error) : resolve(said),
        ),
      );
    await followed(await docker.loadImage(archive));
    const image = docker.getImage(`${REGISTRY}/etl/worker:1`);
    const found = await eventually("the registry", async () => {
      const said = await followed(await image.push({ authconfig })).catch(() => []);
      const aux = said.find((line) => line["aux"] !== undefined)?.["aux"] as JsonObject | undefined;
      return aux?.["Digest"] as string | undefined;
    });
    await image.remove({ force: true });
    return found;
  });
  return { reference: `${REGISTRY}/etl/worker@${digest}`, end: () => child.kill() };
}

async function images(): Promise<readonly string[]> {
  return await world.host.dock.ask("images", world.context.signal, async (docker) =>
    (await docker.listImages()).flatMap(({ RepoTags }) => RepoTags ?? ["without a name"]),
  );
}

describeOnEngine("an image archive", (its) => {
  beforeEach(() => {
    world = its.world();
  });

  const archive = async (change: ImageChange = {}) => {
    const file = join(world.stateDir, "image.tar");
    await writeImage(file, change);
    return { file, wanted: world.wanted({ artefacts: new Map([["worker", file]]) }) };
  };

  it.each<Readonly<{ what: string; change: ImageChange; reason: string; says: string }>>([
    {
      what: "of another architecture",
      change: { architecture: "s390x" },
      reason: "IMAGE_ARCHITECTURE",
      says: "linux/s390x",
    },
    {
      what: "with a layer that is another",
      change: { isDamaged: true },
      reason: "ENGINE_REFUSED",
      says: "diffID",
    },
    { what: "with two images", change: { images: 2 }, reason: "IMAGE_CORRUPT", says: "2 images" },
  ])("$what is refused", async ({ change, reason, says }) => {
    const { wanted } = await archive(change);
    const found = await refusal(world, wanted);
    expect(found.message).toContain(says);
    expect(found.reason).toBe(reason);
    expect(await images()).toEqual(PRELOADED);
  });

  it("that is cut off, is no archive, or is not there, is refused", async () => {
    const { file, wanted } = await archive();
    truncateSync(file, 1_000_000);
    expect((await refusal(world, wanted)).reason).toBe("IMAGE_CORRUPT");
    writeFileSync(file, "not a tar");
    expect((await refusal(world, wanted)).reason).toBe("IMAGE_CORRUPT");
    const nowhere = world.wanted({ artefacts: new Map() });
    expect((await refusal(world, nowhere)).reason).toBe("ARTEFACT_MISSING");
  });

  it("beyond the customer's limit is refused before the engine sees it", async () => {
    const { wanted } = await archive();
    const host = { ...world.host, imageBytesMax: 1_048_576 };
    const { containerDriver } = await import("./index.ts");
    await expect(containerDriver(host).prepare(wanted, world.context)).rejects.toMatchObject({
      reason: "IMAGE_TOO_LARGE",
    });
    expect(await images()).toEqual(PRELOADED);
  });

  it("moves no name of the host, and goes with the last container that runs it", async () => {
    const { wanted } = await archive({ tags: ["nginx:latest"], label: "another" });
    await world.running(wanted);
    const ours = expect.stringMatching(/^holdfast\.local\/image:[0-9a-f]{64}$/);
    expect((await images()).toSorted()).toEqual([ours, ...PRELOADED]);
    await world.driver().drop(INSTANCE, world.context);
    expect(await images()).toEqual(PRELOADED);
  });

  it("goes an hour after it was loaded for a start that never came, and not while it is run", async () => {
    const { wanted } = await archive({ label: "run" });
    await world.running(wanted);
    const idle = await archive({ label: "idle" });
    await world.driver().prepare(idle.wanted, world.context);
    const [run, ...others] = (await images()).toSorted();
    expect(others).toHaveLength(2);
    const readingsAfter = async (ms: number) => {
      const clock = { ...systemClock, now: () => systemClock.now() + ms };
      await world.driver().readings({ ...world.context, clock });
      return (await images()).toSorted();
    };
    expect(await readingsAfter(3_000_000)).toHaveLength(3);
    const left = await readingsAfter(3_700_000);
    expect(left).toHaveLength(2);
    expect([left[0] === run || left[0] === others[0], left.slice(1)]).toEqual([true, PRELOADED]);
    await world.driver().drop(INSTANCE, world.context);
    expect(await images()).toEqual(PRELOADED);
  });
});

describeOnEngine(
  "an image of a registry",
  (its) => {
    let registry: Registry | undefined;
    beforeAll(async () => {
      registry = await startRegistry(its.engine());
    });
    afterAll(() => registry?.end());

    const secrets = new Map([["registry", "etl:hunter2"]]);
    const wantedFrom = (image: JsonObject, known: ReadonlyMap<string, string> = secrets) =>
      world.wanted({ secrets: known, with: { image } });
    const reference = () => registry?.reference ?? "";
    const credentials = "${secrets.registry}";
    const allow = () => {
      world = its.world({ registries: [`${REGISTRY}/etl`] });
    };

    it("is pulled by its digest with the secret's account, and runs", async () => {
      allow();
      const wanted = wantedFrom({ reference: reference(), credentials });
      const live = await world.running(wanted);
      expect(await world.get(live, "/cgi-bin/about")).toContain("release=1.0.0");
      expect(JSON.stringify(await world.inspect(live))).not.toContain("hunter2");
    });

    it("is refused without an account, with a wrong one, and by a wrong digest", async () => {
      allow();
      expect((await refusal(world, wantedFrom({ reference: reference() }))).reason).toBe(
        "REGISTRY_REFUSED",
      );
      const wrong = new Map([["registry", "etl:hunter3"]]);
      const found = await refusal(
        world,
        wantedFrom({ reference: reference(), credentials }, wrong),
      );
      expect(found.reason).toBe("REGISTRY_REFUSED");
      expect(found.message).not.toContain("hunter3");
      const other = reference().replace(/[0-9a-f]{64}$/, "0".repeat(64));
      const missing = await refusal(world, wantedFrom({ reference: other, credentials }));
      expect(missing.reason).toBe("IMAGE_MISSING");
    });

    it("is refused from a registry that the customer does not name", async () => {
      world = its.world();
      const found = await refusal(world, wantedFrom({ reference: reference(), credentials }));
      expect(found.reason).toBe("REGISTRY_NOT_ALLOWED");
      expect(found.message).toContain("container_registries allows no registry");
    });
  },
  { programs: ["docker-registry", "htpasswd"] },
);
