/** What the agent itself refuses, whatever the hub has let through (rows 37 and 38), and what a failing disk comes to. */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  createWorld,
  INSTANCE,
  NEIGHBOUR,
  namesBelow,
  type World,
  writeStep,
} from "./file.test-world.ts";

let world: World;
beforeEach(() => {
  world = createWorld();
});
afterEach(() => world.end());

/** The reason that preparing and writing give alike; nothing may have changed. */
async function refusal(spec: Parameters<World["wanted"]>[1]): Promise<string> {
  const wanted = world.wanted(1, spec);
  const reasonOf = (work: Promise<unknown>) =>
    work.then(
      () => "none",
      (error: { reason?: string }) => error.reason ?? String(error),
    );
  const before = namesBelow(world.home).filter((name) => !name.includes(".file.json"));
  const prepared = await reasonOf(world.driver().prepare(wanted, world.context));
  const step = { ...writeStep(world, wanted) };
  const written = await reasonOf(world.carryOut([step], wanted));
  expect(written).toBe(prepared);
  await world.carryOut([step.undo as never], wanted);
  expect(namesBelow(world.home)).toEqual(before);
  return prepared;
}

describe("the agent refuses a path", () => {
  it.each([
    "../../etc/passwd",
    "a/../../b",
    "a\0b",
    "/proc/self/mem",
    "/sys/kernel/uevent_helper",
    "/dev/sda",
    "x".repeat(5_000),
    "//etc/passwd",
    ".holdfast-x",
  ])("of the form number %#", async (path) => {
    expect(await refusal({ path })).toBe("SPEC_INVALID");
  });

  it.each(["/etc/passwd", "/root/.ssh/authorized_keys", "/"])(
    "outside of what its configuration allows: %s",
    async (path) => {
      expect(["FILE_ROOT_NOT_ALLOWED", "SPEC_INVALID"]).toContain(await refusal({ path }));
    },
  );

  it("beside an allowed folder whose name it begins with", async () => {
    expect(await refusal({ path: `${world.root}2/app.conf` })).toBe("FILE_ROOT_NOT_ALLOWED");
  });

  it("in its own state directory, whatever the configuration says", async () => {
    world.end();
    world = createWorld({ roots: ["/"] });
    expect(await refusal({ path: join(world.stateDir, "agent.db") })).toBe("FILE_ROOT_NOT_ALLOWED");
  });

  it("on a file system of the kernel that is mounted elsewhere", async () => {
    world.end();
    world = createWorld({ roots: ["/run/holdfast-test-none", "/proc"] });
    // As a bind mount of /proc would look: the driver asks the file system, not its name.
    const { Folder } = await import("./folder.ts");
    const folder = Folder.open("/proc", "/proc/sys");
    expect(() => folder.refuseKernel()).toThrow("file system of the kernel (proc)");
    folder.close();
  });

  it.each(["own", "root"])("with a link as parent, below its %s folder", async (where) => {
    const base = where === "own" ? world.own : world.root;
    const target = join(world.home, "target");
    for (const path of [base, target]) mkdirSync(path, { recursive: true });
    symlinkSync(target, join(base, "etc"));
    const path = where === "own" ? "etc/app.json" : join(base, "etc/app.json");
    expect(await refusal({ path })).toBe("FILE_PATH_BLOCKED");
    expect(readdirSync(target)).toEqual([]);
  });

  it("whose allowed folder is itself reached by a link", async () => {
    symlinkSync(world.root, join(world.home, "linked"));
    const roots = [join(world.home, "linked")];
    world = createWorld({ roots }, world.home);
    expect(await refusal({ path: join(world.home, "linked/app.conf") })).toBe("FILE_PATH_BLOCKED");
    rmSync(world.home, { recursive: true });
  });

  it("whose allowed folder is not there", async () => {
    rmSync(world.root, { recursive: true });
    expect(await refusal({ path: join(world.root, "app.conf") })).toBe("FILE_ROOT_MISSING");
    expect(await refusal({ path: join(world.root, "a/b/app.conf") })).toBe("FILE_ROOT_MISSING");
  });

  it("that is a link, a folder, a pipe or a further name of a file", async () => {
    const path = join(world.root, "app.conf");
    symlinkSync(join(world.home, "nowhere"), path);
    expect(await refusal({ path })).toBe("FILE_PATH_BLOCKED");
    rmSync(path);
    mkdirSync(path);
    expect(await refusal({ path })).toBe("FILE_PATH_BLOCKED");
    rmSync(path, { recursive: true });
    execFileSync("mkfifo", [path]);
    expect(await refusal({ path })).toBe("FILE_PATH_BLOCKED");
    rmSync(path);
    writeFileSync(join(world.root, "other"), "theirs");
    linkSync(join(world.root, "other"), path);
    expect(await refusal({ path })).toBe("FILE_HARD_LINKED");
    expect(readFileSync(path, "utf8")).toBe("theirs");
  });

  it("that is another resource's, here or of another instance", async () => {
    const path = join(world.root, "app.conf");
    const key = { instanceId: NEIGHBOUR, resourceId: "settings" };
    await world.bring(world.wanted(2, { path }, { key }));
    await expect(
      world.driver().prepare(world.wanted(1, { path }), world.context),
    ).rejects.toMatchObject({ reason: "FILE_TAKEN", message: expect.stringContaining(NEIGHBOUR) });
    const written = world.carryOut(
      [writeStep(world, world.wanted(1, { path }))],
      world.wanted(1, { path }),
    );
    await expect(written).rejects.toMatchObject({ reason: "FILE_TAKEN" });
  });
});

describe("the agent refuses", () => {
  it.each([
    { mode: "4755" },
    { mode: "2755" },
    { mode: "1777" },
    { mode: 4755 },
    { directoryMode: "2755" },
    { owner: "root" },
    { owner: 0 },
    { type: "block", major: 8 },
    { source: "../x", artefact: "settings", content: null },
    { content: ["x"] },
  ])("the spec %j", async (spec) => {
    expect(await refusal(spec)).toBe("SPEC_INVALID");
  });

  it("an owner that its configuration does not name", async () => {
    expect(await refusal({ owner: "www" })).toBe("USER_NOT_ALLOWED");
  });

  it("a source that is no plain file of the artefact", async () => {
    const { artefacts } = world.wanted(1);
    symlinkSync("/etc/passwd", join(artefacts.get("settings") ?? "", "passwd"));
    for (const source of ["passwd", "eu", "missing/x"]) {
      const reason = await refusal({ content: null, artefact: "settings", source });
      expect(reason).toBe("SOURCE_MISSING");
    }
  });
});

describe("while a file is written", () => {
  it("a link planted at its place is neither followed nor replaced", async () => {
    const wanted = world.wanted(1, { path: join(world.root, "app.conf") });
    const target = join(world.home, "target");
    writeFileSync(target, "theirs");
    await world.driver().prepare(wanted, world.context);
    symlinkSync(target, join(world.root, "app.conf"));
    const step = writeStep(world, wanted);
    await expect(world.carryOut([step], wanted)).rejects.toMatchObject({
      reason: "FILE_PATH_BLOCKED",
    });
    await world.carryOut([step.undo as never], wanted);
    expect(readFileSync(target, "utf8")).toBe("theirs");
    expect(readdirSync(world.root)).toEqual(["app.conf"]);
  });

  it("a link planted under the name of the new file is removed and not written through", async () => {
    const wanted = world.wanted(1, { path: join(world.root, "app.conf") });
    const { besideNames } = await import("./record.ts");
    const step = writeStep(world, wanted);
    const { staged } = besideNames({ instance: INSTANCE, handle: String(step.input["handle"]) });
    const target = join(world.home, "target");
    writeFileSync(target, "theirs");
    symlinkSync(target, join(world.root, staged));
    await world.carryOut([step], wanted);
    expect(readFileSync(target, "utf8")).toBe("theirs");
    expect(readFileSync(join(world.root, "app.conf"), "utf8")).toBe('{"n": 1}\n');
    expect(readdirSync(world.root)).toEqual(["app.conf"]);
  });

  it("a change by hand between the look and the write is kept, and put back", async () => {
    const path = join(world.own, "etc/app.json");
    const first = world.wanted(1);
    const second = world.wanted(2);
    const live = await world.bring(first);
    const [write] = world.driver().steps([live], first, second, 0);
    await world.driver().prepare(second, world.context);
    rmSync(path);
    writeFileSync(path, "by hand\n", { mode: 0o604 });
    await world.carryOut([write as never], first, second);
    expect(readFileSync(path, "utf8")).toBe('{"n": 2}\n');
    await world.carryOut([write?.undo as never], first, second);
    expect(readFileSync(path, "utf8")).toBe("by hand\n");
    expect((statSync(path).mode & 0o777).toString(8)).toBe("604");
  });

  it("a folder that goes away is made again, or the write fails and leaves nothing", async () => {
    const wanted = world.wanted(1);
    await world.driver().prepare(wanted, world.context);
    rmSync(dirname(world.own), { recursive: true, force: true });
    await world.carryOut([writeStep(world, wanted)], wanted);
    expect(existsSync(join(world.own, "etc/app.json"))).toBe(true);
  });
});

describe("a disk", () => {
  /** A small file system of its own where this host allows to mount; undefined elsewhere. */
  function mounted(options: string): (() => void) | undefined {
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", options, "holdfast-test", world.root], {
        stdio: "ignore",
      });
    } catch {
      return undefined;
    }
    return () => execFileSync("umount", ["-l", world.root]);
  }
  const path = () => join(world.root, "app.conf");
  const big = () => world.wanted(2, { path: path(), content: "x".repeat(900_000) });

  it("that is full fails the preparation, and a write leaves the old file as it was", async () => {
    const unmount = mounted("size=1m");
    try {
      const first = world.wanted(1, { path: path() });
      const old = await world.bring(first);
      if (unmount !== undefined) {
        writeFileSync(join(world.root, "filler"), Buffer.alloc(500_000));
        await expect(world.driver().prepare(big(), world.context)).rejects.toMatchObject({
          reason: "DISK_FULL",
        });
        const [write] = world.driver().steps([old], first, big(), 0);
        await expect(world.carryOut([write as never], first, big())).rejects.toMatchObject({
          reason: "HOST_REFUSED",
          message: expect.stringContaining("ENOSPC"),
        });
        await world.carryOut([write?.undo as never], first, big());
        expect(readdirSync(world.root).sort()).toEqual(["app.conf", "filler"]);
      }
      expect(readFileSync(path(), "utf8")).toBe('{"n": 1}\n');
      expect(await world.observe()).toEqual([old]);
    } finally {
      unmount?.();
    }
  });

  it("that is read-only fails the preparation", async () => {
    const unmount = mounted("size=1m,ro");
    try {
      if (unmount === undefined) chmodSync(world.root, 0o500);
      const prepared = world.driver().prepare(world.wanted(1, { path: path() }), world.context);
      await expect(prepared).rejects.toMatchObject({ reason: "FILE_FOLDER_READ_ONLY" });
    } finally {
      unmount?.();
      chmodSync(world.root, 0o700);
    }
  });
});
