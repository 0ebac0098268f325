/**
 * The restricted profile of every container, and what of it a release may choose: its user, its root file system,
 * devices of the kind that compute. All else that widens it is refused by the name that people know it under.
 */
import { below, isPlainObject, type Shape } from "../shape.ts";
import { readFlag } from "./container-ports.ts";
import { ARGV_MAX, scalarText } from "./process-argv.ts";

export const RESTRICTED_PROFILE =
  "the restricted profile: no new privileges, all capabilities dropped, the default seccomp filter, namespaces of its own, no devices, not root";

export type ContainerUser = Readonly<{ uid: number; gid: number }>;
export type ContainerGpus = Readonly<{
  driver: string;
  /** -1: all of them. */
  count: number;
  deviceIds: readonly string[];
  capabilities: readonly string[];
}>;

/** As Kubernetes, Compose and the engine call them. */
const REFUSED = new Set([
  ...["privileged", "allowPrivilegeEscalation", "noNewPrivileges", "securityContext"],
  ...[
    "hostPID",
    "hostPid",
    "pid",
    "pidMode",
    "hostNetwork",
    "network",
    "networkMode",
    "network_mode",
  ],
  ...["hostIPC", "hostIpc", "ipc", "ipcMode", "uts", "userns", "usernsMode", "userns_mode"],
  ...[
    "cap_add",
    "capAdd",
    "capabilities",
    "addCapabilities",
    "security_opt",
    "securityOpt",
    "seccomp",
  ],
  ...["apparmor", "selinux", "devices", "deviceCgroupRules", "device_cgroup_rules", "cgroupParent"],
  ...[
    "cgroup_parent",
    "cgroup",
    "sysctls",
    "runtime",
    "ulimits",
    "oomScoreAdj",
    "extraHosts",
    "dns",
  ],
]);

const USER_DEFAULT = 65_532;
/** The highest that the kernel gives out. */
const ID_MAX = 4_294_967_294;
const USER_RULE = 'two numbers in quotes such as "1000:1000", neither of them 0';
const GPUS_MAX = 64;
const GPU_CAPABILITIES = ["gpu", "compute", "utility", "graphics", "video", "display"] as const;
const DEVICE_ID = /^[A-Za-z0-9][A-Za-z0-9:._-]{0,99}$/;
const GPU_DRIVER = { pattern: /^[a-z][a-z0-9.-]{0,39}$/, allowed: "the name of a device driver" };
const PROGRAM = /^(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._@+-]{1,200}){1,30}$/;
const PROGRAM_RULE = "an absolute path inside the image, without . and ..; PATH is never searched";

/** Asks for every field of them, so that the refusal says more than that it is unknown. */
export function refuseReach(shape: Shape): void {
  for (const field of REFUSED) {
    if (shape.has(field)) shape.add(field, "not allowed", shape.raw(field), RESTRICTED_PROFILE);
  }
}

export function readUser(shape: Shape): ContainerUser {
  const given = shape.raw("user");
  if (given === undefined) return { uid: USER_DEFAULT, gid: USER_DEFAULT };
  const [, uid, gid] = /^(\d{1,10})(?::(\d{1,10}))?$/.exec(String(given)) ?? [];
  const user = { uid: Number(uid), gid: Number(gid ?? uid) };
  const isSound = [user.uid, user.gid].every((id) => id >= 1 && id <= ID_MAX);
  if (typeof given === "string" && isSound) return user;
  const isRoot = user.uid === 0 || user.gid === 0;
  shape.add(
    "user",
    isRoot ? `root is not in ${RESTRICTED_PROFILE}` : "not of this form",
    given,
    USER_RULE,
  );
  return { uid: USER_DEFAULT, gid: USER_DEFAULT };
}

export function readReadOnlyRoot(shape: Shape): boolean {
  return readFlag(shape, "readOnlyRoot", true);
}

/** argv of the container or of a probe: a program of its image, and words that no shell reads. */
export function readContainerArgv(shape: Shape): readonly string[] {
  const given = shape.raw("argv");
  if (typeof given === "string") {
    shape.add("argv", "a command as text", given, 'a list of arguments, such as ["/bin/worker"]');
    return [];
  }
  const argv = shape
    .list("argv", ARGV_MAX, true)
    .map((each, i) => scalarText(shape, below("argv", i), each));
  const [program] = argv;
  if (program === undefined) {
    if (shape.has("argv")) shape.add("argv", "empty", "", "the program first, then its arguments");
  } else if (!PROGRAM.test(program)) {
    shape.add("argv[0]", "not a program of the image", program, PROGRAM_RULE);
  }
  return argv;
}

/** `count` or `deviceIds`, as the engine has them. */
export function readGpus(parent: Shape): ContainerGpus | undefined {
  const shape = parent.object("gpus");
  if (shape === undefined) return undefined;
  const ids = shape.list("deviceIds", GPUS_MAX).map((each, i) => {
    if (typeof each === "string" && DEVICE_ID.test(each)) return each;
    shape.add(below("deviceIds", i), "not the id of a device", each, "such as GPU-1234 or 0");
    return "";
  });
  const all = shape.raw("count") === "all";
  const count = all ? -1 : shape.integer("count", { min: 1, max: GPUS_MAX });
  if ((count === undefined) === (ids.length === 0)) {
    parent.add("gpus", "needs one choice", "", "one of count: NUMBER, count: all, deviceIds: [ID]");
  }
  const capabilities = shape.list("capabilities", GPU_CAPABILITIES.length).map((each, i) => {
    const known = GPU_CAPABILITIES.find((word) => word === each);
    if (known === undefined) {
      shape.add(below("capabilities", i), "unknown word", each, GPU_CAPABILITIES.join(", "));
    }
    return known ?? "gpu";
  });
  const driver = shape.text("driver", GPU_DRIVER) ?? "nvidia";
  if (isPlainObject(parent.raw("gpus"))) shape.finish();
  const words = [...new Set(["gpu", ...capabilities])];
  return { driver, count: count ?? 0, deviceIds: ids, capabilities: words };
}
