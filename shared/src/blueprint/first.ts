/**
 * What goes before anything else of an attempt, such as a backup: every other resource depends on it. The compiler
 * writes that down, so that whoever applies the release needs no rule of its own. Pure.
 */
import type { Violation } from "../fault.ts";
import { shown } from "../text.ts";
import type { ResourceContent } from "./content.ts";
import { kindRules } from "./kinds/kinds.ts";
import { below } from "./shape.ts";

type Resource = Pick<ResourceContent, "id" | "kind" | "spec" | "dependsOn">;

/** The same resources, with the dependencies that they did not name. */
export function withFirst<R extends Resource & { dependsOn: string[] }>(resources: R[]): R[] {
  const first = firstOf(resources);
  return resources.map((each) => {
    if (first.includes(each.id)) return each;
    return { ...each, dependsOn: [...new Set([...each.dependsOn, ...first])] };
  });
}

export function checkFirst(resources: readonly Resource[]): readonly Violation[] {
  const first = firstOf(resources);
  return resources.flatMap(({ id, dependsOn }, i) => {
    if (first.includes(id)) return [];
    const missing = first.filter((each) => !dependsOn.includes(each));
    if (missing.length === 0) return [];
    const path = below(below("resources", i), "dependsOn");
    const message = `${missing.map(shown).join(", ")} goes before anything else; allowed: with it among the dependencies`;
    return [{ path, message }];
  });
}

function firstOf(resources: readonly Resource[]): readonly string[] {
  return resources
    .filter(({ kind, spec = {} }) => kindRules(kind)?.goesFirst?.(spec) === true)
    .map(({ id }) => id);
}
