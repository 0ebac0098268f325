/**
 * Which resources of an attempt may begin now. Pure. Dependencies give the order, and what does not depend on each
 * other goes side by side. What cannot be taken back comes last: it begins alone, and only when nothing else can go
 * on without it, so that everything that may fail has been tried before.
 */

/** Resources of one attempt under way at once; more would only wait for the same disk and processors. */
export const RESOURCES_AT_ONCE_MAX = 8;

export type Task = Readonly<{ id: string; needs: readonly string[] }>;

/** `last`: it was looked at and holds a step that cannot be taken back. Absent: waiting. */
export type TaskState = "waiting" | "last" | "busy" | "done";

export type Begin = Readonly<{
  id: string;
  /** It may now do what cannot be taken back. */
  mayBeLast: boolean;
}>;

export function whatBegins(
  tasks: readonly Task[],
  states: ReadonlyMap<string, TaskState>,
  atOnceMax: number,
): readonly Begin[] {
  const stateOf = ({ id }: Task) => states.get(id) ?? "waiting";
  const isFree = ({ needs }: Task) => needs.every((need) => states.get(need) === "done");
  const busy = tasks.filter((task) => stateOf(task) === "busy").length;
  const free = tasks.filter((task) => stateOf(task) === "waiting" && isFree(task));
  if (busy > 0 || free.length > 0) {
    return free.slice(0, Math.max(0, atOnceMax - busy)).map(({ id }) => ({ id, mayBeLast: false }));
  }
  const [last] = tasks
    .filter((task) => stateOf(task) === "last" && isFree(task))
    .map((task) => ({ task, waiting: dependentsOf(tasks, task.id).length }))
    .sort((a, b) => b.waiting - a.waiting);
  return last === undefined ? [] : [{ id: last.task.id, mayBeLast: true }];
}

/** All that need it, also by way of others. */
function dependentsOf(tasks: readonly Task[], id: string): readonly string[] {
  const found = new Set([id]);
  // Each round finds those one step further away.
  for (let size = 0; size < found.size; ) {
    size = found.size;
    for (const task of tasks) if (task.needs.some((need) => found.has(need))) found.add(task.id);
  }
  found.delete(id);
  return [...found];
}
