/**
 * How PostgreSQL's programs are run. It refuses to be root: as root they run in a user namespace, where they
 * see themselves as nobody although the files stay root's; where namespaces are forbidden, as in some containers,
 * they run as an unprivileged user that owns the data and may pass the directories above it.
 */
import { type ChildProcess, execFile, type SpawnOptions, spawn } from "node:child_process";
import { chown, lchown, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { Fault } from "@holdfast/shared/fault.ts";

const run = promisify(execFile);
/** Who may own the data when user namespaces are forbidden, in this order. */
const FALLBACK_USERS = ["postgres", "nobody"];
const PROBE_MS_MAX = 5_000;

export type Launcher = Readonly<{
  /** Who owns what the programs write, besides the hub's own user. */
  uid?: number;
  spawn(program: string, args: readonly string[], options: SpawnOptions): ChildProcess;
  /** Makes a directory usable for the programs, with all that is in it. */
  adopt(dir: string): Promise<void>;
}>;

/** Nothing of the hub's environment reaches PostgreSQL. */
const ENV = { PATH: "/usr/bin:/bin", LANG: "C", LC_ALL: "C", TZ: "UTC" };

/** Throws FAILED_PRECONDITION `POSTGRES_AS_ROOT` where there is no way. */
export async function findLauncher(uid: number): Promise<Launcher> {
  if (uid !== 0) return direct({});
  const mayUnshare = await run("unshare", ["--user", "--", "true"], { timeout: PROBE_MS_MAX }).then(
    () => true,
    () => false,
  );
  if (mayUnshare) {
    return {
      spawn: (program, args, options) =>
        spawn("unshare", ["--user", "--", program, ...args], { ...options, env: ENV }),
      adopt: async () => undefined,
    };
  }
  return asUnprivileged();
}

/** For root without namespaces. Throws FAILED_PRECONDITION `POSTGRES_AS_ROOT` where no such user is. */
export async function asUnprivileged(): Promise<Launcher> {
  const passwd = (await readFile("/etc/passwd", "utf8")).split("\n").map((line) => line.split(":"));
  for (const name of FALLBACK_USERS) {
    const entry = passwd.find(([user]) => user === name);
    if (entry !== undefined) return asUser(Number(entry[2]), Number(entry[3]));
  }
  throw new Fault(
    "FAILED_PRECONDITION",
    "POSTGRES_AS_ROOT",
    "PostgreSQL does not run as root, and neither a user namespace nor an unprivileged user is available",
    { next: "run the hub as an ordinary user, or set database_url" },
  );
}

/**
 * Data and binaries often lie below a directory that is root's alone; the one capability that remains lets the
 * user pass it. Where that cannot be given, the user has to do without.
 */
async function asUser(uid: number, gid: number): Promise<Launcher> {
  const pass = "-all,+dac_override";
  const as = [
    ...[`--reuid=${uid}`, `--regid=${gid}`, "--clear-groups"],
    ...[`--inh-caps=${pass}`, `--ambient-caps=${pass}`, "--"],
  ];
  const mayPass = await run("setpriv", [...as, "true"], { timeout: PROBE_MS_MAX }).then(
    () => true,
    () => false,
  );
  const plain = direct({ uid, gid });
  if (!mayPass) return plain;
  return {
    ...plain,
    spawn: (program, args, options) =>
      spawn("setpriv", [...as, program, ...args], { ...options, env: ENV }),
  };
}

function direct(as: Readonly<{ uid?: number; gid?: number }>): Launcher {
  return {
    ...(as.uid === undefined ? {} : { uid: as.uid }),
    spawn: (program, args, options) => spawn(program, args, { ...options, ...as, env: ENV }),
    adopt: async (dir) => {
      if (as.uid !== undefined && as.gid !== undefined) await give(dir, as.uid, as.gid);
    },
  };
}

/** The directory last: as long as it is another's, the next start gives again what was not given to the end. */
async function give(dir: string, uid: number, gid: number): Promise<void> {
  if ((await stat(dir)).uid === uid) return;
  for (const entry of await readdir(dir, { recursive: true })) {
    await lchown(join(dir, entry), uid, gid);
  }
  await chown(dir, uid, gid);
}
