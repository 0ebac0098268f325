/**
 * Host paths of a spec as the file system has them. A path is allowed by the customer's configuration alone, after all
 * links in it are resolved, and the engine is given the resolved one. Never the agent's own state, nor what leads to
 * the engine itself.
 */
import { realpathSync } from "node:fs";
import { dirname } from "node:path";
import {
  type ContainerMount,
  hostPathProblem,
  isAtOrBelow,
} from "@holdfast/shared/blueprint/kinds/container-mounts.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { DriverContext } from "../driver.ts";
import type { ContainerHost } from "./host.ts";

/** With the real path as source. Throws PERMISSION_DENIED `MOUNT_NOT_ALLOWED`, FAILED_PRECONDITION `MOUNT_MISSING`. */
export function resolveMounts(
  { mountRoots, memoryDir, socket }: Pick<ContainerHost, "mountRoots" | "memoryDir" | "socket">,
  mounts: readonly ContainerMount[],
  { stateDir }: Pick<DriverContext, "stateDir">,
): readonly ContainerMount[] {
  return mounts.map((mount, i) => {
    const refused = (why: string) => {
      const message = `mounts[${i}].source: host path not allowed: ${shown(mount.source)} ${why}`;
      return new Fault("PERMISSION_DENIED", "MOUNT_NOT_ALLOWED", message, {
        next: "name a folder above it in container_mounts of the agent's configuration, if it may",
      });
    };
    const real = realOf(mount.source);
    if (real === undefined) {
      const message = `mounts[${i}].source: ${shown(mount.source)} is not there`;
      throw new Fault("FAILED_PRECONDITION", "MOUNT_MISSING", message);
    }
    const never = hostPathProblem(real);
    if (never !== undefined) throw refused(`is ${shown(real)}: ${never}`);
    const roots = mountRoots.flatMap((root) => realOf(root) ?? []);
    if (!roots.some((root) => isAtOrBelow(real, root))) {
      const rule = mountRoots.length === 0 ? "no host path" : mountRoots.join(", ");
      throw refused(`is ${shown(real)}; container_mounts allows ${rule}`);
    }
    const kept = [stateDir, memoryDir, dirname(socket)].map((each) => realOf(each) ?? each);
    const held = kept.find((each) => isAtOrBelow(real, each) || isAtOrBelow(each, real));
    if (held !== undefined) throw refused(`leads to ${held}, which no workload may see`);
    return { ...mount, source: real };
  });
}

function realOf(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}
