/**
 * Where this agent may make control groups: for each controller a folder of cgroup v2 or v1, or the reason why there
 * is none. Takes only what was delegated to it or what a root agent may have at the root of the hierarchy; never
 * moves itself or anybody else's processes.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, normalize } from "node:path";

/** `unified`: a group of v2 as such, which counts processor time and can be killed at once. */
export const CONTROLLERS = ["unified", "memory", "cpu", "pids", "cpuacct"] as const;
export type Controller = (typeof CONTROLLERS)[number];
export type Place = Readonly<{ version: 1 | 2; dir: string }>;
export type Places = Readonly<{
  /** Folders of this agent; its copies' groups are below. */
  found: Readonly<Partial<Record<Controller, Place>>>;
  /** Why a controller has none. */
  missing: Readonly<Partial<Record<Controller, string>>>;
}>;

/** Those that one group of v2 has together. */
const UNIFIED_CONTROLLERS = ["memory", "cpu", "pids"] as const;
/** Last part of the agent's own group where systemd gives it one below the delegated group (DelegateSubgroup). */
const OWN_SUBGROUP = "agent";
const STATE_DIGEST_CHARS = 12;

type Mount = Readonly<{ version: 1 | 2; at: string; root: string; controllers: readonly string[] }>;

/** `holdfast-` and a digest of the state directory: agents on one host never share a group. */
export function agentGroup(stateDir: string): string {
  const digest = createHash("sha256").update(stateDir).digest("hex");
  return `holdfast-${digest.slice(0, STATE_DIGEST_CHARS)}`;
}

/** Makes the agent's folders. Never throws: what cannot be had is said. */
export function findPlaces(procDir: string, stateDir: string): Places {
  const found: Partial<Record<Controller, Place>> = {};
  const missing: Partial<Record<Controller, string>> = {};
  const mounts = mountsIn(readText(join(procDir, "self/mountinfo")));
  const own = ownGroups(readText(join(procDir, "self/cgroup")));
  const unified = mounts.find(({ version }) => version === 2);
  const second = unified && makeUnified(unified, own.get("") ?? "", agentGroup(stateDir));
  if (second?.dir !== undefined) found.unified = { version: 2, dir: second.dir };
  for (const controller of CONTROLLERS) {
    if (controller === "unified") continue;
    const dir = second?.dir;
    if (dir !== undefined && second?.controllers.includes(controller)) {
      found[controller] = { version: 2, dir };
      continue;
    }
    const mount = mounts.find(
      (each) => each.version === 1 && each.controllers.includes(controller),
    );
    const first = mount && makeFirst(mount, own.get(controller), agentGroup(stateDir));
    if (first?.dir !== undefined) found[controller] = { version: 1, dir: first.dir };
    else missing[controller] = first?.why ?? second?.why ?? `no cgroup has ${controller} here`;
  }
  return { found, missing };
}

/** Lines of /proc/self/mountinfo: `36 35 98:0 /root /mnt rw … - cgroup cgroup rw,memory`. */
function mountsIn(text: string): readonly Mount[] {
  return text.split("\n").flatMap((line): Mount[] => {
    const [left = "", right = ""] = line.split(" - ");
    const [, , , root, at] = left.split(" ").map(unescape8);
    const [type, , options = ""] = right.split(" ");
    if (root === undefined || at === undefined) return [];
    if (type === "cgroup2") return [{ version: 2, at, root, controllers: [] }];
    return type === "cgroup" ? [{ version: 1, at, root, controllers: options.split(",") }] : [];
  });
}

/** The kernel writes blanks in paths as octal numbers. */
function unescape8(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

/** Lines of /proc/self/cgroup: `4:memory:/path`; the one of v2 has no controller. */
function ownGroups(text: string): ReadonlyMap<string, string> {
  const groups = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [, names, ...path] = line.split(":");
    if (names === undefined) continue;
    for (const name of names.split(",")) groups.set(name, path.join(":"));
  }
  return groups;
}

/** The folder of a group as this mount shows it; undefined if it does not. */
function folderOf({ at, root }: Mount, group: string): string | undefined {
  const isBelow = root === "/" || group === root || group.startsWith(`${root}/`);
  if (!isBelow || group.split("/").includes("..")) return undefined;
  return normalize(join(at, root === "/" ? group : group.slice(root.length)));
}

type Made = Readonly<{ dir: string | undefined; why: string }>;

/** In v1 a group may have processes and groups at once: ours goes below the agent's own. */
function makeFirst(mount: Mount, own: string | undefined, name: string): Made {
  const parent = own === undefined ? undefined : folderOf(mount, own);
  if (parent === undefined) return { dir: undefined, why: `${mount.at} does not show our group` };
  return make(join(parent, name));
}

/**
 * In v2 a group with controllers for its children has no processes of its own, but for the root: ours goes beside
 * the agent's own subgroup, or to the root.
 */
function makeUnified(
  mount: Mount,
  own: string,
  name: string,
): Made & Readonly<{ controllers: readonly string[] }> {
  const folder = folderOf(mount, own);
  const isDelegated = folder?.endsWith(`/${OWN_SUBGROUP}`) === true;
  const parent = isDelegated ? join(folder as string, "..") : mount.at;
  const dir = join(parent, name);
  const made = make(dir);
  if (made.dir === undefined) return { ...made, controllers: [] };
  const offered = wordsIn(join(parent, "cgroup.controllers"));
  const wanted = UNIFIED_CONTROLLERS.filter((each) => offered.includes(each));
  const problems = [parent, dir].flatMap((each) => enable(each, wanted) ?? []);
  const controllers = wordsIn(join(dir, "cgroup.subtree_control"));
  return { dir, controllers, why: problems[0] ?? `${parent} does not offer it` };
}

/** Controllers that the groups below get; each alone, since one that is refused must not cost the others. */
function enable(dir: string, controllers: readonly string[]): string | undefined {
  const path = join(dir, "cgroup.subtree_control");
  let problem: string | undefined;
  for (const controller of controllers) {
    if (wordsIn(path).includes(controller)) continue;
    try {
      writeFileSync(path, `+${controller}`, { flag: "a" });
    } catch (error) {
      problem = `${path} refuses ${controller}: ${codeOf(error)}`;
    }
  }
  return problem;
}

function make(dir: string): Made {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o755 });
    if (existsSync(join(dir, "cgroup.procs"))) return { dir, why: "" };
    return { dir: undefined, why: `${dir} is no control group` };
  } catch (error) {
    return { dir: undefined, why: `${dir} cannot be made: ${codeOf(error)}` };
  }
}

function wordsIn(path: string): readonly string[] {
  return readText(path)
    .split(/\s+/)
    .filter((word) => word !== "");
}

function readText(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}

export function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? "unknown";
}
