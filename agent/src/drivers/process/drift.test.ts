/**
 * What somebody changes by hand of a process that runs: found by a look at everything, and brought back while the
 * process goes on. Limits are those of this host's control groups; where it gives none there is nothing to change.
 */
import { chmodSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { Live, Wanted } from "../driver.ts";
import type { AmountName } from "../host-process/limits.ts";
import { rulesOf } from "../host-process/limits.ts";
import { amountIn, otherAmounts } from "../host-process/limits-live.ts";
import { readRecord } from "../host-process/record.ts";
import { ask, createWorld, INSTANCE, type World } from "./process.test-world.ts";

let world: World;
beforeEach(() => {
  world = createWorld();
});
afterEach(() => world.end());

const limits = { cpuMillis: 250, memoryMib: 512, pids: 64 };
const requests = { cpuMillis: 100, memoryMib: 64 };
const withSecret = () =>
  world.wanted({
    secrets: new Map([["dsn", "postgres://etl:hunter2@db/etl"]]),
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a reference of a release.
    with: { secretFiles: { dsn: "${secrets.dsn}" } },
  });
const runDir = ({ handle }: Live) => join(world.context.directories(INSTANCE).run, handle);
const secretFile = (live: Live) => join(runDir(live), "secrets", "dsn");
const onlyOne = async (): Promise<Live> => {
  const [live, ...more] = await world.observe();
  expect(more).toEqual([]);
  if (live === undefined) throw new Error("nothing runs");
  return live;
};
const driftOf = async (wanted: Wanted) => world.driver().drift(await onlyOne(), wanted);
const revert = async (wanted: Wanted) =>
  await world.carryOut(world.driver().revert(await onlyOne(), wanted), wanted);

it("a limit that somebody raised is named in the units of the spec, and is put back", async () => {
  const wanted = world.wanted({ with: { limits } });
  const live = await world.running(wanted);
  const { pid } = await ask(live);
  const place = readRecord(runDir(live))?.groups.pids;
  if (place === undefined) return;
  writeFileSync(join(place.dir, "pids.max"), "max");
  expect(await driftOf(wanted)).toEqual([{ path: "limits.pids", applied: 64, live: "none" }]);
  await revert(wanted);
  expect(await driftOf(wanted)).toEqual([]);
  expect((await ask(await onlyOne())).pid).toBe(pid);
});

it("a process that was moved out of its groups is named, and is taken back into them", async () => {
  const wanted = world.wanted({ with: { limits } });
  const live = await world.running(wanted);
  const { pid } = await ask(live);
  const place = readRecord(runDir(live))?.groups.pids;
  if (place === undefined) return;
  writeFileSync(join(dirname(dirname(place.dir)), "cgroup.procs"), String(pid));
  expect((await driftOf(wanted)).map(({ path }) => path)).toEqual(["controlGroup"]);
  await revert(wanted);
  expect(await driftOf(wanted)).toEqual([]);
});

it("a secret's file that was opened to others, written or removed is named without what is in it", async () => {
  const wanted = withSecret();
  const live = await world.running(wanted);
  const path = secretFile(live);
  const meddling: readonly [string, () => void][] = [
    ["secretFiles.dsn.mode", () => chmodSync(path, 0o644)],
    ["secretFiles.dsn.content", () => writeFileSync(path, "postgres://mallory")],
    ["secretFiles.dsn.content", () => rmSync(path)],
  ];
  for (const [field, meddle] of meddling) {
    meddle();
    const found = await driftOf(wanted);
    expect(found.map((each) => each.path)).toEqual([field]);
    expect(JSON.stringify(found)).not.toMatch(/hunter2|mallory/);
    await revert(wanted);
    expect(await driftOf(wanted)).toEqual([]);
  }
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

it("what the program does itself, and other files beside it, are not ours to judge", async () => {
  const wanted = withSecret();
  const live = await world.running(wanted);
  writeFileSync(join(runDir(live), "secrets", "other"), "of nobody we know");
  utimesSync(runDir(live), 0, 0);
  expect(await driftOf(wanted)).toEqual([]);
});

it("a copy that was begun by an agent which noted no files is not judged by them", async () => {
  const wanted = withSecret();
  const live = await world.running(wanted);
  rmSync(join(runDir(live), "secrets.json"));
  chmodSync(secretFile(live), 0o644);
  expect(await driftOf(wanted)).toEqual([]);
});

it("what is written to groups of either version reads back as what was asked for", () => {
  for (const version of [1, 2] as const) {
    const found: Record<string, Record<string, number>> = { limits: {}, requests: {} };
    for (const rule of rulesOf({ limits, requests })) {
      const files = new Map(rule.writes(version).map(([file, value]) => [file, value]));
      const amount = amountIn(rule.amount, version, (file) => files.get(file) ?? "");
      const [part = "", name = ""] = rule.amount.split(".");
      expect(typeof amount, `${rule.amount} of v${version}`).toBe("number");
      found[part] = { ...found[part], [name]: amount as number };
    }
    expect(otherAmounts({ limits, requests }, found)).toEqual([]);
    expect(found["limits"]).toEqual(limits);
  }
});

it.each([
  ["limits.memoryMib", 2, { "memory.max": "max" }, "none"],
  ["limits.memoryMib", 1, { "memory.limit_in_bytes": "9223372036854771712" }, "none"],
  ["limits.cpuMillis", 1, { "cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000" }, "none"],
  ["limits.cpuMillis", 2, { "cpu.max": "50000 200000" }, 250],
  ["limits.pids", 2, {}, undefined],
] as const)("%s of v%d reads %j as %s", (amount, version, files: object, value) => {
  const read = (file: string) => String((files as Record<string, string>)[file] ?? "");
  expect(amountIn(amount as AmountName, version, read)).toBe(value);
});
