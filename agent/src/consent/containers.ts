/**
 * What the customer lets containers reach: host paths below the folders that the configuration names, and registries by
 * name. Without a word of the customer neither. The driver looks again, at what a path is once its links are resolved.
 */
import { hostPathProblem, isAtOrBelow } from "@holdfast/shared/blueprint/kinds/container-mounts.ts";
import { driversFor } from "@holdfast/shared/blueprint/kinds/kinds.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { JsonObject, JsonValue } from "../drivers/driver.ts";
import type { ConsentRequest } from "./port.ts";

/** Also a job that runs as one. */
export function isContainer(resource: ConsentRequest["resources"][number]): boolean {
  return driversFor(resource).includes("container");
}

export type ContainerReach = Readonly<{
  /** Folders of the host below which a release may mount. */
  mounts: readonly string[];
  /** Registries, or the beginning of their repositories. */
  registries: readonly string[];
}>;

export const NO_REACH: ContainerReach = { mounts: [], registries: [] };

export function judgeContainers(
  { resources }: Pick<ConsentRequest, "resources">,
  reach: ContainerReach,
): Readonly<{ rule: string; message: string }> | undefined {
  for (const resource of resources) {
    if (!isContainer(resource)) continue;
    const { id, spec } = resource;
    const message = mountProblem(spec, reach.mounts);
    if (message !== undefined) return { rule: "mount-denied", message: `${id}.${message}` };
    const problem = registryProblem(spec, reach.registries);
    if (problem !== undefined) return { rule: "registry-denied", message: `${id}.${problem}` };
  }
  return undefined;
}

function mountProblem({ mounts }: JsonObject, roots: readonly string[]): string | undefined {
  if (mounts === undefined) return undefined;
  if (!Array.isArray(mounts)) return "mounts: want a list";
  for (const [i, mount] of (mounts as readonly JsonValue[]).entries()) {
    const source = fieldOf(mount, "source");
    const path = typeof source === "string" ? source : "";
    const never = hostPathProblem(path);
    if (never === undefined && roots.some((root) => isAtOrBelow(path, root))) continue;
    const allowed = roots.length === 0 ? "none" : roots.join(", ");
    const why = never ?? `container_mounts allows: ${allowed}`;
    return `mounts[${i}].source: host path not allowed: got ${shown(source ?? "")}; ${why}`;
  }
  return undefined;
}

function registryProblem({ image }: JsonObject, allowed: readonly string[]): string | undefined {
  const reference = fieldOf(image, "reference");
  if (reference === undefined) return undefined;
  const [repository = ""] = typeof reference === "string" ? reference.split("@") : [];
  if (allowed.some((each) => isAtOrBelow(repository, each))) return undefined;
  const rule = allowed.length === 0 ? "none" : allowed.join(", ");
  return `image.reference: got ${shown(reference)}; container_registries allows: ${rule}`;
}

function fieldOf(value: JsonValue | undefined, name: string): JsonValue | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  return (value as JsonObject)[name];
}
