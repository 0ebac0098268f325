/**
 * Puts a process that was just started into the control groups of its copy. It may have had children in the moment
 * before: everything of its session follows, until nobody is outside.
 */
import { enterGroups, type Groups, processesIn } from "./cgroup.ts";
import { readProcesses } from "./proc.ts";

/** Each round finds what was born outside during the one before; all that is born inside stays inside. */
const ROUNDS_MAX = 5;

/** What went wrong with the first process; undefined if it is in. */
export async function confine(
  procDir: string,
  groups: Groups,
  pid: number,
): Promise<string | undefined> {
  if (Object.keys(groups).length === 0) return undefined;
  const problem = enterGroups(groups, pid);
  if (problem !== undefined) return problem;
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const all = await readProcesses(procDir);
    const inside = processesIn(groups);
    const outside = all.filter(
      (each) => each.session === pid && !each.ended && !inside.has(each.pid),
    );
    if (outside.length === 0) return undefined;
    // Those that have ended meanwhile need no place.
    for (const each of outside) enterGroups(groups, each.pid);
  }
  return undefined;
}
