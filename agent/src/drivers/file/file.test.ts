/** What the driver writes, keeps, puts back and takes away, on real files. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the syntax of expressions
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { digestOf } from "@holdfast/shared/digest.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Live } from "../driver.ts";
import { driftOf, revertSteps } from "./drift.ts";
import {
  createWorld,
  ETL,
  INSTANCE,
  namesBelow,
  type World,
  writeStep,
} from "./file.test-world.ts";

const isRoot = process.getuid?.() === 0;

let world: World;
beforeEach(() => {
  world = createWorld();
});
afterEach(() => world.end());

const facts = (path: string) => {
  const { mode, uid, gid, ino } = statSync(path);
  return { text: readFileSync(path, "utf8"), mode: (mode & 0o7777).toString(8), uid, gid, ino };
};
const runNames = () => readdirSync(world.context.directories(INSTANCE).run);

describe("a file of the instance's own", () => {
  it("has its content, mode and folders, and gives path and digest out", async () => {
    const live = await world.bring(world.wanted(1, { directoryMode: "751" }));
    const path = join(world.own, "etc/app.json");
    expect(facts(path)).toMatchObject({ text: '{"n": 1}\n', mode: "640" });
    expect((statSync(join(world.own, "etc")).mode & 0o7777).toString(8)).toBe("751");
    expect(live.outputs).toEqual({
      path,
      digest: digestOf(Buffer.from('{"n": 1}\n')),
    });
    expect(namesBelow(world.own)).toEqual(["etc/", "etc/app.json"]);
  });

  it("comes from an artefact, byte for byte", async () => {
    const wanted = world.wanted(1, {
      ...{ content: null, artefact: "settings", source: "eu/default.json" },
    });
    await world.bring(wanted);
    expect(facts(join(world.own, "etc/app.json")).text).toBe('{"region": "eu"}\n');
  });

  it("is given to the account that the release names, where the agent may", async () => {
    const wanted = world.wanted(1, { owner: "etl" });
    if (!isRoot) {
      const prepared = world.driver().prepare(wanted, world.context);
      await expect(prepared).rejects.toMatchObject({ reason: "USER_NOT_ALLOWED" });
      return;
    }
    await world.bring(wanted);
    const path = join(world.own, "etc/app.json");
    expect(facts(path)).toMatchObject({ ...ETL, mode: "640" });
    expect(statSync(join(world.own, "etc"))).toMatchObject(ETL);
    // Others pass through the agent's folders and cannot list them.
    expect((statSync(world.stateDir).mode & 0o011).toString(8)).toBe("11");
  });

  it("holds secrets where the rendering left them open, and tells no digest of them", async () => {
    const content = "dsn=${secrets.dsn}\ncost=$${secrets.dsn}\n";
    const open = { secrets: new Map([["dsn", "pg://hunter2"]]), secretTexts: ["content"] };
    const live = await world.bring(world.wanted(1, { content }, open));
    const path = join(world.own, "etc/app.json");
    expect(facts(path).text).toBe("dsn=pg://hunter2\ncost=${secrets.dsn}\n");
    expect(live.outputs["digest"]).toBe(`sha256:${"1".repeat(64)}`);
    writeFileSync(path, "dsn=pg://hunter3\n");
    const [changed] = await world.observe();
    expect(JSON.stringify({ ...changed, generation: "" })).not.toMatch(/hunter|sha256:(?!1{64})/);
    expect(driftOf(changed as Live, world.wanted(1, { content }, open))).toEqual([
      { path: "content", applied: `sha256:${"1".repeat(64)}`, live: "changed, 17 bytes" },
    ]);
  });

  it("takes text that only looks like a secret literally", async () => {
    const content = "${secrets.dsn}";
    const secrets = new Map([["dsn", "pg://hunter2"]]);
    await world.bring(world.wanted(1, { content }, { secrets, secretTexts: [] }));
    expect(facts(join(world.own, "etc/app.json")).text).toBe(content);
  });

  it("refuses to write where a secret is missing, before anything changes", async () => {
    const wanted = world.wanted(1, { content: "${secrets.dsn}" }, { secretTexts: ["content"] });
    await expect(world.driver().prepare(wanted, world.context)).rejects.toMatchObject({
      reason: "SECRET_MISSING",
    });
    expect(existsSync(world.own)).toBe(false);
  });
});

describe("a change", () => {
  it("keeps what stood there until the commit, and puts the very same file back", async () => {
    const path = join(world.own, "etc/app.json");
    const first = world.wanted(1, { content: Buffer.from("\u0000\ufeffä\r\n").toString() });
    const old = await world.bring(first);
    const before = facts(path);
    const second = world.wanted(2, { mode: "600" });
    const steps = world.driver().steps([old], first, second, 0);
    const [write, ...after] = steps;
    expect(after.map(({ when, verb }) => `${when} ${verb}`)).toEqual(["after-commit remove"]);
    await world.carryOut([write as never], first, second);
    expect(facts(path)).toMatchObject({ text: '{"n": 2}\n', mode: "600" });
    expect(readdirSync(join(world.own, "etc")).length).toBe(2);
    await world.carryOut([write?.undo as never], first, second);
    expect(facts(path)).toEqual(before);
    expect(namesBelow(world.own)).toEqual(["etc/", "etc/app.json"]);
    expect(await world.observe()).toEqual([old]);
  });

  it("of its path has both until the commit, and leaves no folder of the old one", async () => {
    const first = world.wanted(1, { path: "old/deep/app.json" });
    const old = await world.bring(first);
    const second = world.wanted(2, { path: "new/app.json" });
    const [write, remove] = world.driver().steps([old], first, second, 0);
    await world.carryOut([write as never], first, second);
    expect(existsSync(join(world.own, "old/deep/app.json"))).toBe(true);
    await world.carryOut([remove as never], first, second);
    expect(namesBelow(world.own)).toEqual(["new/", "new/app.json"]);
  });

  it("back to content that is still set aside writes it anew", async () => {
    const first = world.wanted(1);
    const second = world.wanted(2);
    const old = await world.bring(first);
    const [write] = world.driver().steps([old], first, second, 0);
    await world.carryOut([write as never], first, second);
    await world.bring(first, second);
    expect(facts(join(world.own, "etc/app.json")).text).toBe('{"n": 1}\n');
    expect(await world.observe()).toHaveLength(1);
    expect(namesBelow(world.own)).toEqual(["etc/", "etc/app.json"]);
  });

  it("by a removal of the resource takes the file and its folders away", async () => {
    const first = world.wanted(1);
    const live = await world.bring(first);
    await world.carryOut(world.driver().steps([live], first, undefined, 0), first);
    expect(await world.observe()).toEqual([]);
    expect(existsSync(world.own)).toBe(false);
    expect(runNames()).toEqual([]);
  });

  it("brings a file back that somebody removed", async () => {
    const first = world.wanted(1);
    await world.bring(first);
    rmSync(join(world.own, "etc"), { recursive: true });
    const [gone] = await world.observe();
    expect(gone).toMatchObject({ phase: "exited" });
    expect(gone?.message).toContain("is not there");
    expect(await world.driver().health(gone as Live, first, world.context)).toMatchObject({
      state: "failed",
    });
    await world.bring(first, first);
    expect(facts(join(world.own, "etc/app.json")).text).toBe('{"n": 1}\n');
    expect(await world.observe()).toHaveLength(1);
  });
});

describe("a file of the host that was there before", () => {
  const given = () => world.wanted(1, { path: join(world.root, "app.conf") });

  it("is put back with the same mode when the first write is undone", async () => {
    const path = join(world.root, "app.conf");
    writeFileSync(path, "theirs\n");
    chmodSync(path, 0o604);
    const before = facts(path);
    const step = writeStep(world, given());
    await world.driver().prepare(given(), world.context);
    await world.carryOut([step], given());
    expect(facts(path).text).toBe('{"n": 1}\n');
    await world.carryOut([step.undo as never], given());
    expect(facts(path)).toEqual(before);
    expect(readdirSync(world.root)).toEqual(["app.conf"]);
  });

  it("comes back with the drop, after any number of releases", async () => {
    const path = join(world.root, "app.conf");
    writeFileSync(path, "theirs\n");
    const before = facts(path);
    let last = given();
    await world.bring(last);
    for (const n of [2, 3]) {
      const next = world.wanted(n, { path });
      await world.bring(next, last);
      last = next;
    }
    expect(facts(path).text).toBe('{"n": 3}\n');
    await world.driver().drop(INSTANCE, world.context);
    expect(facts(path)).toEqual(before);
    expect(readdirSync(world.root)).toEqual(["app.conf"]);
    await world.driver().drop(INSTANCE, world.context);
    expect(facts(path)).toEqual(before);
  });

  it("was not there: the drop leaves what is others' and takes what is its own", async () => {
    await world.bring(world.wanted(1, { path: join(world.root, "a/b/app.conf") }));
    writeFileSync(join(world.root, "a/theirs"), "");
    await world.bring(world.wanted(2, {}, { key: { instanceId: INSTANCE, resourceId: "other" } }));
    symlinkSync(world.root, join(world.own, "etc", "planted"));
    await world.driver().drop(INSTANCE, world.context);
    expect(namesBelow(world.root)).toEqual(["a/", "a/theirs"]);
    expect(existsSync(world.own)).toBe(false);
  });
});

describe("what somebody changed", () => {
  const path = () => join(world.own, "etc/app.json");

  it.each([
    ["content", () => writeFileSync(path(), "mine"), "sha256:"],
    [
      "content",
      () => {
        writeFileSync(`${path()}~`, "mine");
        renameSync(`${path()}~`, path());
      },
      "sha256:",
    ],
    ["mode", () => chmodSync(path(), 0o666), "666"],
    ["mode", () => chmodSync(path(), 0o4640), "4640"],
  ])("of its %s is told with both values, and reverted", async (field, change, shows) => {
    const first = world.wanted(1, field === "mode" ? {} : { mode: "0644" });
    const applied = await world.bring(first);
    expect(driftOf(applied, first)).toEqual([]);
    change();
    if (field === "content") chmodSync(path(), 0o644);
    const [changed] = await world.observe();
    const found = driftOf(changed as Live, first);
    expect(found.map((each) => each.path)).toEqual([field]);
    expect(found[0]?.live).toContain(shows);
    expect(found[0]?.live).not.toBe(found[0]?.applied);
    await world.carryOut(revertSteps(changed as Live, first), first);
    const [reverted] = await world.observe();
    expect(driftOf(reverted as Live, first)).toEqual([]);
    expect(facts(path()).text).toBe('{"n": 1}\n');
    expect(namesBelow(world.own)).toEqual(["etc/", "etc/app.json"]);
  });

  it("of its times alone is nothing", async () => {
    const first = world.wanted(1);
    await world.bring(first);
    writeFileSync(path(), '{"n": 1}\n');
    expect(driftOf((await world.observe())[0] as Live, first)).toEqual([]);
  });

  it("is not seen by a look at records alone", async () => {
    const first = world.wanted(1);
    await world.bring(first);
    writeFileSync(path(), "mine");
    const [live] = await world.driver().observe(world.context, "recorded");
    expect(live).not.toHaveProperty("fields");
    expect(driftOf(live as Live, first)).toEqual([]);
  });

  it("into a folder or a link is told, and neither written over nor followed", async () => {
    const first = world.wanted(1);
    await world.bring(first);
    rmSync(path());
    symlinkSync("/etc/hostname", path());
    const [live] = await world.observe();
    expect(live).toMatchObject({ phase: "exited" });
    await expect(world.bring(first, first)).rejects.toMatchObject({ reason: "FILE_PATH_BLOCKED" });
    rmSync(path());
    mkdirSync(path());
    await expect(world.bring(first, first)).rejects.toMatchObject({ reason: "FILE_PATH_BLOCKED" });
  });
});
