/**
 * Where groups are made and what is written to them: a contract with the kernel's file layout, held against made-up
 * hierarchies of v2 and v1, since a test host has one of them at most. What this host's kernel then does with them is
 * in limits.test.ts.
 */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  enterGroups,
  groupName,
  isGroupOf,
  killGroup,
  makeGroups,
  processesIn,
  usageOf,
} from "./cgroup.ts";
import { agentGroup, findPlaces } from "./cgroup-places.ts";
import { caveatOf } from "./limits.ts";

const STATE = "/var/lib/holdfast";
const OURS = agentGroup(STATE);
const INSTANCE = `ins_${"a".repeat(32)}`;
const NAME = groupName(INSTANCE, "worker-1.1-abc-0r0");
const ALL = {
  limits: { cpuMillis: 250, memoryMib: 64, pids: 20 },
  requests: { cpuMillis: 500, memoryMib: 32 },
};

let root: string;
let procDir: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "holdfast-cgroup-"));
  procDir = join(root, "proc");
  mkdirSync(join(procDir, "self"), { recursive: true });
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const put = (path: string, text: string) => writeFileSync(path, text);
const read = (...path: string[]) => readFileSync(join(...path), "utf8");
const host = () => ({ procDir, withoutGroups: undefined });

/** A folder as the kernel fills it when it is made. */
function group(dir: string, controllers: string, enabled = ""): string {
  mkdirSync(dir, { recursive: true });
  put(join(dir, "cgroup.procs"), "");
  put(join(dir, "cgroup.controllers"), controllers);
  put(join(dir, "cgroup.subtree_control"), enabled);
  return dir;
}

/** v2, where the agent runs in `own`; its folder is made as after an earlier start. */
function second(own: string, beside: string, offered = "cpu memory pids"): string {
  const at = join(root, "cgroup");
  put(join(procDir, "self/mountinfo"), `30 23 0:26 / ${at} rw - cgroup2 cgroup2 rw\n`);
  put(join(procDir, "self/cgroup"), `0::${own}\n`);
  group(at, "cpu memory pids");
  group(join(at, own), offered);
  group(join(at, beside), offered, offered);
  return group(join(at, beside, OURS), offered, offered);
}

describe("cgroup v2", () => {
  it("is used beside the agent's own subgroup where systemd delegates it", () => {
    const dir = second(
      "/system.slice/holdfast-agent.service/agent",
      "/system.slice/holdfast-agent.service",
    );
    const place = { version: 2, dir };
    expect(findPlaces(procDir, STATE)).toMatchObject({
      found: { unified: place, memory: place, cpu: place, pids: place },
    });
  });

  it("is used at the root where nothing was delegated, never below a group with processes", () => {
    const dir = second("/system.slice/holdfast-agent.service", "/");
    expect(findPlaces(procDir, STATE).found.memory).toEqual({ version: 2, dir });
    expect(existsSync(join(root, "cgroup/system.slice/holdfast-agent.service", OURS))).toBe(false);
  });

  it("has the files of a copy written as the kernel reads them", () => {
    const dir = second("/a/agent", "/a");
    const { groups, kept } = makeGroups(host(), STATE, NAME, ALL);
    const own = join(dir, NAME);
    expect(groups["memory"]).toEqual({ version: 2, dir: own });
    expect({
      memory: read(own, "memory.max"),
      swap: read(own, "memory.swap.max"),
      whole: read(own, "memory.oom.group"),
      low: read(own, "memory.low"),
      cpu: read(own, "cpu.max"),
      weight: read(own, "cpu.weight"),
      pids: read(own, "pids.max"),
    }).toEqual({
      ...{ memory: "67108864", swap: "0", whole: "1", low: "33554432" },
      ...{ cpu: "25000 100000", weight: "20", pids: "20" },
    });
    expect(kept.every(({ how }) => how === "cgroup")).toBe(true);
    expect(caveatOf(kept)).toBe("");
  });

  it("counts, names and kills by the files of the group", () => {
    const dir = second("/a/agent", "/a");
    const { groups } = makeGroups(host(), STATE, NAME, ALL);
    const own = join(dir, NAME);
    put(join(own, "cpu.stat"), "usage_usec 1234567\nuser_usec 1000000\n");
    put(join(own, "memory.current"), "10485760\n");
    put(join(own, "memory.stat"), "anon 1\ninactive_file 1048576\n");
    put(join(own, "memory.events"), "low 0\noom 3\noom_kill 2\n");
    expect(usageOf(groups)).toEqual({ cpuUs: 1_234_567, memoryKib: 9_216, oomKills: 2 });
    put(join(own, "cgroup.procs"), "17\n4711\n");
    expect([...processesIn(groups)]).toEqual([17, 4711]);
    expect(killGroup(groups)).toBe(false);
    put(join(own, "cgroup.kill"), "0");
    expect(killGroup(groups)).toBe(true);
    expect(read(own, "cgroup.kill")).toBe("1");
    expect(enterGroups(groups, 42)).toBeUndefined();
    expect(read(own, "cgroup.procs")).toBe("42");
  });

  it("without a controller says which, and why", () => {
    second("/a/agent", "/a", "memory");
    const { kept } = makeGroups(host(), STATE, NAME, ALL);
    const offers = `${join(root, "cgroup/a")} does not offer it`;
    expect(caveatOf(kept)).toBe(
      [
        `cpu limit 250 m does not apply here (${offers})`,
        `pids limit 20 is watched by the agent, not kept by the kernel (${offers})`,
        `cpu request 500 m does not apply here (${offers})`,
      ].join("; "),
    );
  });
});

describe("cgroup v1", () => {
  function first(controller: string, own: string, mountRoot = "/"): string {
    const at = join(root, controller);
    const before = existsSync(join(procDir, "self/mountinfo"))
      ? read(procDir, "self/mountinfo")
      : "";
    put(
      join(procDir, "self/mountinfo"),
      `${before}31 23 0:27 ${mountRoot} ${at} rw - cgroup cgroup rw,${controller}\n`,
    );
    const groups = existsSync(join(procDir, "self/cgroup")) ? read(procDir, "self/cgroup") : "";
    put(join(procDir, "self/cgroup"), `${groups}4:${controller}:${own}\n`);
    const below = mountRoot === "/" ? own : own.slice(mountRoot.length);
    return group(join(at, below, OURS), "");
  }

  it("is used below the agent's own group, also where the mount shows a part only", () => {
    const dir = first("memory", "/docker/abc/agent", "/docker/abc");
    expect(dir).toBe(join(root, "memory/agent", OURS));
    expect(findPlaces(procDir, STATE).found.memory).toEqual({ version: 1, dir });
  });

  it("has the files of a copy written as the kernel reads them, and counts by them", () => {
    for (const controller of ["memory", "cpu", "pids", "cpuacct"]) first(controller, "/x");
    const { groups, kept } = makeGroups(host(), STATE, NAME, ALL);
    const of = (controller: string) => join(root, controller, "x", OURS, NAME);
    expect({
      memory: read(of("memory"), "memory.limit_in_bytes"),
      swap: read(of("memory"), "memory.memsw.limit_in_bytes"),
      soft: read(of("memory"), "memory.soft_limit_in_bytes"),
      period: read(of("cpu"), "cpu.cfs_period_us"),
      quota: read(of("cpu"), "cpu.cfs_quota_us"),
      shares: read(of("cpu"), "cpu.shares"),
      pids: read(of("pids"), "pids.max"),
    }).toEqual({
      ...{ memory: "67108864", swap: "67108864", soft: "33554432" },
      ...{ period: "100000", quota: "25000", shares: "512", pids: "20" },
    });
    expect(caveatOf(kept)).toBe("");
    put(join(of("cpuacct"), "cpuacct.usage"), "5000000\n");
    put(join(of("memory"), "memory.usage_in_bytes"), "2097152\n");
    put(join(of("memory"), "memory.stat"), "cache 0\ntotal_inactive_file 1048576\n");
    put(join(of("memory"), "memory.oom_control"), "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n");
    expect(usageOf(groups)).toEqual({ cpuUs: 5_000, memoryKib: 1_024, oomKills: 1 });
  });
});

describe("a host without groups that can be written", () => {
  it("is told for every limit", () => {
    put(join(procDir, "self/mountinfo"), "23 1 8:1 / / rw - ext4 /dev/vda rw\n");
    const { groups, kept } = makeGroups(host(), STATE, NAME, ALL);
    expect(groups).toEqual({});
    expect(kept.map(({ how }) => how)).toEqual(["watched", "none", "watched", "none", "none"]);
    expect(caveatOf(kept)).toContain(
      "memory limit 64 MiB is watched by the agent, not kept by the kernel (no cgroup has memory here)",
    );
  });

  it("is told when the kernel refuses a limit", () => {
    const dir = second("/a/agent", "/a");
    mkdirSync(join(dir, NAME, "pids.max"), { recursive: true });
    const { kept } = makeGroups(host(), STATE, NAME, ALL);
    expect(caveatOf(kept)).toMatch(/^pids limit 20 is watched .*pids\.max: EISDIR\)$/);
  });

  it("is told when the agent's folder cannot be made", () => {
    const at = join(root, "cgroup");
    put(join(procDir, "self/mountinfo"), `30 23 0:26 / ${at} rw - cgroup2 cgroup2 rw\n`);
    put(join(procDir, "self/cgroup"), "0::/\n");
    put(at, "no folder");
    chmodSync(at, 0o400);
    expect(findPlaces(procDir, STATE).missing.memory).toMatch(/cannot be made: E/);
  });
});

describe("the name of a group in a record", () => {
  const dir = `/sys/fs/cgroup/${OURS}/${NAME}`;
  const isOurs = (path: string) => isGroupOf(path, INSTANCE, "worker-1.1-abc-0r0");

  it("is believed for the copy's own", () => {
    expect(isOurs(dir)).toBe(true);
  });

  it.each([
    "/sys/fs/cgroup",
    "/",
    "",
    `/sys/fs/cgroup/${NAME}`,
    dir.slice(1),
    `${dir}x`,
    `${dir}/..`,
    `/sys/../${OURS}/${NAME}`,
    `/sys/fs/cgroup/system.slice/${NAME}`,
  ])("is not believed for another: %j", (path) => {
    expect(isOurs(path)).toBe(false);
  });
});
