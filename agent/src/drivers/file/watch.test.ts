/** The watch of files over the kernel's own events: what rings, what does not, and that it stays within its bound. */
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { systemClock } from "@holdfast/shared/clock.ts";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { Driver } from "../driver.ts";
import { createWorld, INSTANCE, type World } from "./file.test-world.ts";
import { fileDriver } from "./index.ts";
import { type FileRecord, writeRecord } from "./record.ts";
import { WATCHED_FOLDERS_MAX } from "./watch.ts";

let world: World;
let driver: Driver;
let stop: AbortController;
let rings: number;
let watching: Promise<void> | undefined;
/** Ends the pause between two looks for folders. */
let follow: () => void;

beforeEach(() => {
  world = createWorld();
  driver = fileDriver(world.host);
  stop = new AbortController();
  rings = 0;
});
afterEach(async () => {
  stop.abort();
  await watching;
  world.end();
});

/** It watches what the look has found when this returns. */
async function begin(): Promise<void> {
  await driver.observe(world.context);
  const sleep = (_: number, signal?: AbortSignal) =>
    new Promise<void>((resolve) => {
      follow = resolve;
      signal?.addEventListener("abort", () => resolve(), { once: true });
    });
  const context = { ...world.context, clock: { ...systemClock, sleep }, signal: stop.signal };
  watching = driver.watch?.(context, () => {
    rings += 1;
  });
}

/** Of all that rang until now, and of what is still on its way. */
async function rung(): Promise<number> {
  const before = rings;
  for (let n = 0; n < 500 && rings === before; n++) await systemClock.sleep(2);
  return rings;
}

it.each<[string, (path: string) => void]>([
  ["writes into it", (path) => writeFileSync(path, "other")],
  [
    "replaces it",
    (path) => {
      writeFileSync(`${path}.x`, "other");
      renameSync(`${path}.x`, path);
    },
  ],
  ["changes its mode", (path) => chmodSync(path, 0o666)],
  ["removes it", (path) => rmSync(path)],
])("rings when somebody %s", async (_, change) => {
  const live = await world.bring(world.wanted(1));
  await begin();
  change(String(live.outputs["path"]));
  expect(await rung()).toBeGreaterThan(0);
});

it("does not ring for what others write beside it, however much", async () => {
  const { outputs } = await world.bring(world.wanted(1));
  await begin();
  const path = String(outputs["path"]);
  for (let n = 0; n < 100; n++) writeFileSync(join(dirname(path), `log-${n % 3}`), String(n));
  // The kernel tells in order, so whatever came before was heard by then.
  chmodSync(path, 0o600);
  expect(await rung()).toBe(1);
});

it("follows a folder that is moved away and comes back, and one that a later look finds", async () => {
  const { outputs } = await world.bring(world.wanted(1));
  await begin();
  const folder = dirname(String(outputs["path"]));
  renameSync(folder, `${folder}-moved`);
  expect(await rung()).toBeGreaterThan(0);
  mkdirSync(folder);
  const other = world.wanted(2, { path: join(world.root, "conf/b.json") });
  const second = await world.bring({ ...other, key: { instanceId: INSTANCE, resourceId: "b" } });
  await driver.observe(world.context);
  follow();
  await systemClock.sleep(0);
  const places = [String(outputs["path"]), String(second.outputs["path"])];
  for (const path of places) {
    const before = rings;
    writeFileSync(path, "other");
    expect(await rung(), path).toBeGreaterThan(before);
  }
});

it("takes no more of the kernel than its bound, and gives all of it back", async () => {
  await world.bring(world.wanted(1));
  const { run } = world.context.directories(INSTANCE);
  const [name = ""] = readdirSync(run).filter((each) => each.endsWith(".file.json"));
  const record = JSON.parse(readFileSync(join(run, name), "utf8")) as FileRecord;
  for (let n = 0; n <= WATCHED_FOLDERS_MAX; n++) {
    const path = join(world.root, `f${n}`, "a");
    mkdirSync(dirname(path));
    writeRecord(run, { ...record, handle: `other-1.1-111111111111-0r${n}`, path });
  }
  const before = watches();
  await begin();
  expect(watches() - before).toBe(WATCHED_FOLDERS_MAX);
  stop.abort();
  await watching;
  expect(watches()).toBe(before);
});

/** As the kernel counts them for this process. */
function watches(): number {
  const folder = "/proc/self/fdinfo";
  return readdirSync(folder)
    .map((fd) => {
      try {
        return readFileSync(join(folder, fd), "utf8").split("inotify wd:").length - 1;
      } catch {
        return 0;
      }
    })
    .reduce((sum, each) => sum + each, 0);
}
