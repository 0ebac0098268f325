/** What no container is started with, judged by the agent whatever the hub checked (rows 39 to 44 of the bad-input table). */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the syntax of expressions
import { chmodSync, chownSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeEach, expect, it } from "vitest";
import type { JsonObject } from "../driver.ts";
import { describeOnEngine, refusal, type World } from "./container.test-world.ts";

let world: World;

describeOnEngine("a container's start is refused before anything is changed", (its) => {
  beforeEach(() => {
    world = its.world();
  });

  it.each([
    { what: "privileged", with: { privileged: true } },
    { what: "the host's network", with: { networkMode: "host" } },
    { what: "a capability", with: { capAdd: ["SYS_ADMIN"] } },
    { what: "root", with: { user: "0:0" } },
    { what: "a tag", with: { image: { reference: "registry.example.com/worker:1" } } },
    { what: "the host path /", with: { mounts: [{ source: "/", path: "/in" }] } },
    { what: "the host path //etc", with: { mounts: [{ source: "//etc", path: "/in" }] } },
    {
      what: "the engine's socket",
      with: { mounts: [{ source: "/var/run/docker.sock", path: "/s" }] },
    },
    { what: "port 65536", with: { ports: { http: { container: 65_536 } } } },
    { what: "a fixed port below 1024", with: { ports: { http: { container: 80, fixed: 80 } } } },
    { what: "CPU -1", with: { limits: { cpuMillis: -1 } } },
    { what: "memory 1Ei", with: { limits: { memoryMib: "1Ei" } } },
    { what: "a loader's variable", with: { env: { LD_PRELOAD: "/x.so" } } },
    { what: "a name with a line break", with: { env: { "A\nB": "1" } } },
  ])("$what, whatever the hub checked", async ({ with: given }) => {
    const wanted = world.wanted({ with: given as JsonObject });
    expect(world.driver().check(wanted.spec, "spec").length).toBeGreaterThan(0);
    expect(await refusal(world, wanted)).toMatchObject({ reason: "SPEC_INVALID" });
    expect(await world.observe()).toEqual([]);
  });

  it.each([
    { what: "outside of what is allowed", source: () => "/var/cache", reason: "MOUNT_NOT_ALLOWED" },
    {
      what: "that a link leads out of it",
      source: () => {
        symlinkSync("/etc", join(world.mountable, "link"));
        return join(world.mountable, "link");
      },
      reason: "MOUNT_NOT_ALLOWED",
    },
    {
      what: "that is the agent's state",
      source: () => {
        symlinkSync(world.stateDir, join(world.mountable, "state"));
        return join(world.mountable, "state", "instances");
      },
      reason: "MOUNT_MISSING",
    },
    {
      what: "above the engine's socket",
      source: () => {
        symlinkSync(dirname(world.host.socket), join(world.mountable, "docker"));
        return join(world.mountable, "docker");
      },
      reason: "MOUNT_NOT_ALLOWED",
    },
    {
      what: "that is not there",
      source: () => join(world.mountable, "x"),
      reason: "MOUNT_MISSING",
    },
  ])("a host path $what", async ({ source, reason }) => {
    const found = await refusal(
      world,
      world.wanted({ with: { mounts: [{ source: source(), path: "/in" }] } }),
    );
    expect(found.reason).toBe(reason);
  });

  const WORKLOAD = 65_532;
  /** `conf` in a folder that others than root may change. */
  const within = (folder: string, change: (path: string) => void) => {
    const path = join(world.mountable, folder);
    mkdirSync(join(path, "conf"), { recursive: true });
    change(path);
    return { mounts: [{ source: join(path, "conf"), path: "/in" }] };
  };

  it.each<[string, (path: string) => void, string]>([
    ["belongs to a workload", (path) => chownSync(path, WORKLOAD, 0), "belongs to uid 65532"],
    ["is open to a group", (path) => chmodSync(path, 0o775), "has mode 0775"],
    ["is open to all", (path) => chmodSync(path, 0o757), "has mode 0757"],
    [
      "is like /tmp, where the source itself belongs to a workload",
      (path) => {
        chmodSync(path, 0o1777);
        chownSync(join(path, "conf"), WORKLOAD, 0);
      },
      "has mode 1777",
    ],
  ])(
    "a host path that can be swapped before the engine takes it: its folder %s",
    async (_, change, says) => {
      const found = await refusal(world, world.wanted({ with: within("app", change) }));
      expect(found).toMatchObject({
        reason: "MOUNT_NOT_ALLOWED",
        message: expect.stringContaining(says),
      });
      expect(found.message).toContain("only root and the agent may be able to put another folder");
    },
  );

  it("a host path in a container that runs as the agent", async () => {
    const { containerDriver } = await import("./index.ts");
    const driver = () => containerDriver({ ...world.host, uid: WORKLOAD });
    const mounts = [{ source: world.mountable, path: "/in" }];
    const found = await refusal({ ...world, driver }, world.wanted({ with: { mounts } }));
    expect(found.message).toContain("runs as the agent's own account (65532)");
  });

  it("but not a source that itself belongs to the workload, nor one of root's in a folder like /tmp", async () => {
    const owned = within("own", (path) => chownSync(join(path, "conf"), WORKLOAD, 0));
    const shared = within("shared", (path) => chmodSync(path, 0o1777));
    for (const with_ of [owned, shared]) {
      await world.driver().prepare(world.wanted({ with: with_ }), world.context);
    }
  });

  it("and mounts what is allowed, read-only", async () => {
    writeFileSync(join(world.mountable, "rows.csv"), "1,2\n");
    const mounts = [{ source: world.mountable, path: "/in" }];
    const live = await world.running(world.wanted({ with: { mounts } }));
    const { Mounts } = await world.inspect(live);
    expect(Mounts).toContainEqual(
      expect.objectContaining({ Destination: "/in", RW: false, Source: world.mountable }),
    );
  });

  it("a secret that is not on this host, and a folder for secrets on a disk", async () => {
    const given = { secretFiles: { dsn: "${secrets.source_dsn}" } };
    expect((await refusal(world, world.wanted({ with: given }))).reason).toBe("SECRET_MISSING");
    const { containerDriver } = await import("./index.ts");
    const driver = () => containerDriver({ ...world.host, memoryDir: its.engine().dir });
    const secrets = new Map([["source_dsn", "x"]]);
    expect(
      (await refusal({ ...world, driver }, world.wanted({ with: given, secrets }))).reason,
    ).toBe("MEMORY_DIR_ON_DISK");
  });

  it("GPUs where the engine has none", async () => {
    expect((await refusal(world, world.wanted({ with: { gpus: { count: 1 } } }))).reason).toBe(
      "GPU_MISSING",
    );
  });
});
