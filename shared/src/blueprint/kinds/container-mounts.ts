/**
 * What a container sees besides its image: named volumes of its instance, paths of the host, memory. Host paths are
 * judged three times: here by their text, by the customer's rules, and by the driver as the file system resolves them.
 */
import { below, type Shape } from "../shape.ts";
import { readFlag } from "./container-ports.ts";

export type ContainerVolume = Readonly<{ path: string; readOnly: boolean }>;
export type ContainerMount = Readonly<{ source: string; path: string; readOnly: boolean }>;
export type ContainerTmpfs = Readonly<{ path: string; mib: number }>;

/** Where the agent puts secrets and the seat list. */
export const GIVEN_PATH = "/run/holdfast";
/** Where a job writes what it gives out. */
export const OUTPUTS_PATH = "/run/holdfast-outputs";

const VOLUMES_MAX = 20;
const MOUNTS_MAX = 20;
const TMPFS_MAX = 10;
const TMPFS_MIB_MAX = 1_048_576;
const TMPFS_MIB_DEFAULT = 64;
const VOLUME_NAME = /^[a-z][a-z0-9-]{0,39}$/;
const PATH = /^(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._@+-]{1,200}){1,30}$/;
const PATH_RULE = "an absolute path without //, . and .. and a slash at its end";
const INSIDE = { pattern: PATH, allowed: `${PATH_RULE}, other than /` };
/** Of the kernel, the engine or the agent; a mount over them would be a way out or a trap. */
const RESERVED_INSIDE = ["/proc", "/sys", "/dev", GIVEN_PATH, OUTPUTS_PATH];
/** What is below these belongs to the host as such, and /var/run and /run hold the engine's socket. */
const NEVER_BELOW = [
  ...["/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/root"],
  ...["/run", "/sbin", "/sys", "/usr", "/var/lib/containerd", "/var/lib/containers"],
  ...["/var/lib/docker", "/var/log", "/var/run", "/var/spool/cron"],
];
/** As a whole too much; a folder below them may be fine. */
const NEVER_WHOLE = [
  "/home",
  "/media",
  "/mnt",
  "/opt",
  "/srv",
  "/tmp",
  "/var",
  "/var/lib",
  "/var/tmp",
];

export type ReadMounts = Readonly<{
  volumes: Readonly<Record<string, ContainerVolume>>;
  mounts: readonly ContainerMount[];
  tmpfs: readonly ContainerTmpfs[];
}>;

export function readMounts(shape: Shape): ReadMounts {
  const taken = new Map<string, string>();
  const volumes = readVolumes(shape, taken);
  const mounts = shape.list("mounts", MOUNTS_MAX).map((each, i) => {
    const item = shape.item("mounts", i, each);
    const source = item.raw("source");
    const problem = typeof source === "string" ? hostPathProblem(source) : "not text";
    if (problem !== undefined) {
      item.add("source", `host path not allowed: ${problem}`, source ?? "", MOUNT_RULE);
    }
    const path = readInside(item, taken);
    const readOnly = readFlag(item, "readOnly", true);
    item.finish();
    return { source: String(source), path, readOnly };
  });
  const tmpfs = shape.list("tmpfs", TMPFS_MAX).map((each, i) => {
    const item = shape.item("tmpfs", i, each);
    const path = readInside(item, taken);
    const mib = item.integer("mib", { min: 1, max: TMPFS_MIB_MAX }) ?? TMPFS_MIB_DEFAULT;
    item.finish();
    return { path, mib };
  });
  return { volumes, mounts, tmpfs };
}

const MOUNT_RULE = "a folder below one that the customer names in container_mounts of the agent";

function readVolumes(shape: Shape, taken: Map<string, string>): ReadMounts["volumes"] {
  const map = shape.object("volumes");
  const read = shape.entries("volumes", VOLUMES_MAX).flatMap(([name]) => {
    if (!VOLUME_NAME.test(name)) {
      map?.add(name, "not a volume name", name, "a-z, 0-9 and -, at most 40, a letter first");
    }
    const volume = map?.object(name);
    if (volume === undefined) {
      map?.add(name, "not a volume", "", "{path: PATH}");
      return [];
    }
    const path = readInside(volume, taken);
    const readOnly = readFlag(volume, "readOnly", false);
    volume.finish();
    return [[name, { path, readOnly }] as const];
  });
  return Object.fromEntries(read);
}

function readInside(item: Shape, taken: Map<string, string>): string {
  const path = item.text("path", INSIDE, true) ?? "";
  const reserved = RESERVED_INSIDE.find((each) => isAtOrBelow(path, each));
  if (reserved !== undefined)
    item.add("path", `${reserved} is not for mounts`, path, INSIDE.allowed);
  const holder = taken.get(path);
  if (path !== "" && holder !== undefined) {
    item.add("path", `${holder} is there already`, path, "a path of its own");
  }
  taken.set(path, below(item.path, "path"));
  return path;
}

/** Why no agent mounts this path, whatever its configuration says; undefined: the configuration decides. */
export function hostPathProblem(path: string): string | undefined {
  if (path === "/") return "it is the whole host";
  if (!PATH.test(path)) return `allowed is ${PATH_RULE}`;
  const never = NEVER_BELOW.find((each) => isAtOrBelow(path, each));
  if (never !== undefined) return `${never} is the host's own`;
  return NEVER_WHOLE.includes(path) ? "it holds what belongs to others" : undefined;
}

export function isAtOrBelow(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder === "/" ? "/" : `${folder}/`);
}
