/**
 * The control groups of one copy: made before its process, entered at once after it, and gone with it. They keep
 * its limits, count what all of its processes used, also those that have ended, and name every one of them. A copy
 * without groups works too: nothing here throws, what could not be done is said.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { foldersOf } from "../folders.ts";
import { CONTROLLERS, type Controller, codeOf, findPlaces, type Place } from "./cgroup-places.ts";
import { type Amounts, type GroupWrite, type Kept, lost, planGroups, rulesOf } from "./limits.ts";

export type Groups = Readonly<Partial<Record<Controller, Place>>>;

const NANOSECONDS_PER_MICROSECOND = 1_000;

/** `<instance>.<handle>`: unique on this agent. */
export function groupName(instanceId: string, handle: string): string {
  return `${instanceId.slice(4)}.${handle}`;
}

/** Whether a folder can be the group of this copy; a record is not believed if it names another one. */
export function isGroupOf(dir: string, instanceId: string, handle: string): boolean {
  const [name, agent, ...rest] = dir.split("/").toReversed();
  if (name !== groupName(instanceId, handle) || !/^holdfast-[0-9a-f]{12}$/.test(agent ?? "")) {
    return false;
  }
  return dir.startsWith("/") && !rest.includes("..") && !rest.includes(".");
}

/** Makes the groups and sets their limits. `off`: why this agent is to make none. */
export function makeGroups(
  host: Readonly<{ procDir: string; withoutGroups: string | undefined }>,
  stateDir: string,
  name: string,
  amounts: Amounts,
): Readonly<{ groups: Groups; kept: readonly Kept[] }> {
  if (host.withoutGroups !== undefined) {
    const gap = host.withoutGroups;
    return { groups: {}, kept: rulesOf(amounts).map((rule) => lost(rule, gap)) };
  }
  const places = findPlaces(host.procDir, stateDir);
  const plan = planGroups(amounts, places);
  const groups: Partial<Record<Controller, Place>> = {};
  const problems = new Map<Controller, string>();
  for (const controller of plan.controllers) {
    const place = places.found[controller];
    if (place === undefined) continue;
    const dir = join(place.dir, name);
    const problem = attempt(dir, () => mkdirSync(dir, { recursive: true, mode: 0o755 }));
    if (problem === undefined) groups[controller] = { version: place.version, dir };
    else problems.set(controller, problem);
  }
  // Looking for a place makes it; what this copy does not use is not left behind.
  for (const { dir } of Object.values(places.found)) attempt(dir, () => rmdirSync(dir));
  for (const write of plan.writes) {
    const problem = writeLimit(groups, write);
    if (problem !== undefined) problems.set(write.controller, problem);
  }
  const rules = rulesOf(amounts);
  const kept = plan.kept.map((each, index) => {
    const rule = rules[index];
    const problem = rule && problems.get(rule.controller);
    return rule === undefined || problem === undefined ? each : lost(rule, problem);
  });
  return { groups, kept };
}

function writeLimit(groups: Groups, { controller, file, value, optional }: GroupWrite) {
  const dir = groups[controller]?.dir;
  if (dir === undefined) return undefined;
  const path = join(dir, file);
  const problem = attempt(path, () => writeFileSync(path, value));
  return optional ? undefined : problem;
}

/** Moves one process; a group that refuses is told. */
export function enterGroups(groups: Groups, pid: number): string | undefined {
  const problems = dirsOf(groups).flatMap((dir) => {
    const path = join(dir, "cgroup.procs");
    return attempt(path, () => writeFileSync(path, String(pid))) ?? [];
  });
  return problems[0];
}

/** All processes in the groups, as the kernel knows them: no child hides by leaving its session or its marks. */
export function processesIn(groups: Groups): ReadonlySet<number> {
  // Each process is in all of them.
  const [dir] = dirsOf(groups);
  const lines = dir === undefined ? [] : readText(join(dir, "cgroup.procs")).split("\n");
  return new Set(lines.filter((line) => /^[1-9]\d*$/.test(line)).map(Number));
}

/** SIGKILL to all at once, which no fork outruns. Whether the kernel did it. */
export function killGroup({ unified }: Groups): boolean {
  if (unified === undefined) return false;
  const path = join(unified.dir, "cgroup.kill");
  return attempt(path, () => writeFileSync(path, "1", { flag: "r+" })) === undefined;
}

export type GroupUsage = Readonly<{
  /** Of all its processes since its beginning, also of ended ones. */
  cpuUs: number | undefined;
  /** Working set: what is charged less file pages that can be dropped at once. */
  memoryKib: number | undefined;
  /** Processes that the kernel ended for want of memory. */
  oomKills: number;
}>;

export function usageOf(groups: Groups): GroupUsage {
  const { memory } = groups;
  return {
    cpuUs: cpuUsOf(groups),
    memoryKib: memory && memoryKibOf(memory),
    oomKills: memory === undefined ? 0 : (oomKillsOf(memory) ?? 0),
  };
}

function cpuUsOf({ unified, cpuacct }: Groups): number | undefined {
  if (unified !== undefined) return numberIn(join(unified.dir, "cpu.stat"), "usage_usec");
  if (cpuacct === undefined) return undefined;
  const used = numberIn(join(cpuacct.dir, "cpuacct.usage"));
  return used === undefined ? undefined : used / NANOSECONDS_PER_MICROSECOND;
}

function memoryKibOf({ version, dir }: Place): number | undefined {
  const [file, idle] =
    version === 2
      ? (["memory.current", "inactive_file"] as const)
      : (["memory.usage_in_bytes", "total_inactive_file"] as const);
  const charged = numberIn(join(dir, file));
  if (charged === undefined) return undefined;
  const droppable = numberIn(join(dir, "memory.stat"), idle) ?? 0;
  return Math.round(Math.max(0, charged - droppable) / 1_024);
}

function oomKillsOf({ version, dir }: Place): number | undefined {
  return numberIn(join(dir, version === 2 ? "memory.events" : "memory.oom_control"), "oom_kill");
}

/**
 * Also of a copy that is gone. False: a group still has a process, or a thread of one whose end is seen already. It
 * stays, and is found by `pruneGroups` later.
 */
export function removeGroups(groups: Groups): boolean {
  const dirs = dirsOf(groups);
  for (const dir of dirs) {
    attempt(dir, () => rmdirSync(dir));
    // Of the last copy: the agent's own folder too.
    attempt(dir, () => rmdirSync(dirname(dir)));
  }
  return !dirs.some((dir) => existsSync(dir));
}

/** Empty groups of copies that have no directory any more, as a crash between two steps leaves them. */
export function pruneGroups(procDir: string, stateDir: string): void {
  for (const { dir } of Object.values(findPlaces(procDir, stateDir).found)) {
    for (const name of foldersOf(dir)) {
      const [instance = "", ...handle] = name.split(".");
      // In the same turn: a start makes the directory first, and then the group.
      const isKnown = existsSync(join(stateDir, "instances", instance, "run", handle.join(".")));
      if (!isKnown) attempt(dir, () => rmdirSync(join(dir, name)));
    }
    attempt(dir, () => rmdirSync(dir));
  }
}

function dirsOf(groups: Groups): readonly string[] {
  return [...new Set(CONTROLLERS.flatMap((each) => groups[each]?.dir ?? []))];
}

/** A file with one number, or one with lines of a name and a number. */
function numberIn(path: string, name?: string): number | undefined {
  const text = readText(path);
  const digits = name === undefined ? text.trim() : lineOf(text, name);
  return /^\d+$/.test(digits) ? Number(digits) : undefined;
}

function lineOf(text: string, name: string): string {
  const line = text.split("\n").find((each) => each.startsWith(`${name} `));
  return line?.slice(name.length + 1).trim() ?? "";
}

function readText(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}

function attempt(path: string, act: () => void): string | undefined {
  try {
    act();
    return undefined;
  } catch (error) {
    return `${path}: ${codeOf(error)}`;
  }
}
