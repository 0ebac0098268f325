/**
 * Host paths of a spec as the file system has them. A path is allowed by the customer's configuration alone, after all
 * links in it are resolved, and the engine is given the resolved one. Never the agent's own state, nor what leads to
 * the engine itself.
 *
 * The engine resolves the path again, at the start that follows and at each start that it makes by itself. So nobody but root
 * and the agent may be able to put something else in the place of a folder on the way: each has to belong to one of them and
 * be writable by nobody else. What a workload can do in such a folder changes nothing of where the path leads.
 */
import { lstatSync, realpathSync, type Stats } from "node:fs";
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
import type { ContainerSpec } from "./spec.ts";

type Ground = Pick<ContainerHost, "mountRoots" | "memoryDir" | "socket" | "uid">;

/** With the real path as source. Throws PERMISSION_DENIED `MOUNT_NOT_ALLOWED`, FAILED_PRECONDITION `MOUNT_MISSING`. */
export function resolveMounts(
  { mountRoots, memoryDir, socket, uid }: Ground,
  { mounts, user }: Pick<ContainerSpec, "mounts" | "user">,
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
    // It could do all that is left to the agent alone.
    if (user.uid === uid)
      throw refused(`in a container that runs as the agent's own account (${uid})`);
    const loose = looseFolder(real, uid);
    if (loose !== undefined) throw refused(`is ${shown(real)}: ${loose}`);
    return { ...mount, source: real };
  });
}

/** Why the path may lead elsewhere by the time the engine takes it; `real` holds no links. */
function looseFolder(real: string, uid: number): string | undefined {
  const isTrusted = (owner: number) => owner === 0 || owner === uid;
  for (let path = real; path !== dirname(path); path = dirname(path)) {
    const folder = dirname(path);
    const [found, child] = [statsOf(folder), statsOf(path)];
    if (found === undefined || child === undefined) return `${shown(path)} is changed just now`;
    const rule = `only root and the agent may be able to put another folder in the place of ${shown(path)}`;
    if (!isTrusted(found.uid)) return `${shown(folder)} belongs to uid ${found.uid}; ${rule}`;
    // In a folder like /tmp each one's own stays in its place.
    const isSticky = (found.mode & STICKY) !== 0 && isTrusted(child.uid);
    if ((found.mode & WRITABLE_BY_OTHERS) === 0 || isSticky) continue;
    const mode = (found.mode & 0o7777).toString(8).padStart(4, "0");
    return `${shown(folder)} has mode ${mode}; ${rule}`;
  }
  return undefined;
}

const STICKY = 0o1000;
const WRITABLE_BY_OTHERS = 0o022;

function statsOf(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

function realOf(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}
