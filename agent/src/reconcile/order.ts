/** In which order the resources of an instance are brought up: what others depend on first. Pure. */
import { Fault } from "@holdfast/shared/fault.ts";

/** Stable: of those that may come next, the one that was declared first. Throws INTERNAL on a cycle. */
export function inDependencyOrder<Resource extends Readonly<{ id: string }>>(
  resources: readonly Resource[],
  needsOf: (resource: Resource) => readonly string[],
): readonly Resource[] {
  const waiting = [...resources];
  const placed = new Set<string>();
  const ordered: Resource[] = [];
  while (waiting.length > 0) {
    const at = waiting.findIndex((each) => needsOf(each).every((id) => placed.has(id)));
    const [next] = at < 0 ? [] : waiting.splice(at, 1);
    if (next === undefined) {
      const left = waiting.map(({ id }) => id).join(", ");
      throw new Fault("INTERNAL", "CYCLE", `resources that wait for each other: ${left}`);
    }
    placed.add(next.id);
    ordered.push(next);
  }
  return ordered;
}
