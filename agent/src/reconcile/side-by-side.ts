/**
 * Carries out what the schedule says. The first failure stops the others at their next safe point; whoever waits
 * hears of it once all of them have ended, so that nothing runs beside what follows.
 */
import {
  type Begin,
  RESOURCES_AT_ONCE_MAX,
  type Task,
  type TaskState,
  whatBegins,
} from "./schedule.ts";

/** `work` says whether the task is done, or has found that it is one of the last. `stop` must not throw. */
export async function runSideBySide(
  tasks: readonly Task[],
  work: (begin: Begin) => Promise<"done" | "last">,
  stop: (error: unknown) => void,
): Promise<void> {
  const states = new Map<string, TaskState>();
  const busy = new Map<string, Promise<void>>();
  const failures: unknown[] = [];
  const begin = async (each: Begin): Promise<void> => {
    try {
      states.set(each.id, await work(each));
    } catch (error) {
      if (failures.length === 0) stop(error);
      failures.push(error);
    } finally {
      busy.delete(each.id);
    }
  };
  for (;;) {
    const begins = failures.length > 0 ? [] : whatBegins(tasks, states, RESOURCES_AT_ONCE_MAX);
    for (const each of begins) {
      states.set(each.id, "busy");
      busy.set(each.id, begin(each));
    }
    if (busy.size === 0) break;
    await Promise.race(busy.values());
  }
  if (failures.length > 0) throw failures[0];
}
